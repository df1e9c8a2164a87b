"""What there is to train on: counted before the first step, and compared when a run goes on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mamp.config import DataConfig, Expected, Root
from mamp.core.errors import UserError, first_ten, plural
from mamp.datasets.lists import read_names
from mamp.datasets.sequences import Sequence as Video
from mamp.datasets.sequences import training_sequences
from mamp.datasets.untaken import lines, untaken_of


@dataclass(frozen=True)
class Census:
    """What a run trains on.

    counts, rates, roots: frames, frames a second, and place in data.root of each video. digest: of names,
    counts, rates.
    untaken: lines about what lies in data.root and is not taken, and about videos that are taken twice.
    left_out: videos of data.root that data.leave_out keeps from training. unknown: names of that list which
    no video has.
    """

    counts: tuple[int, ...]
    rates: tuple[float | None, ...]
    digest: str
    roots: tuple[int, ...] = ()
    left_out: int = 0
    unknown: tuple[str, ...] = ()
    untaken: tuple[str, ...] = ()

    @property
    def frames(self) -> int:
        """Frames of all videos together."""
        return sum(self.counts)

    def of(self, kept: Sequence[Video], *, among: Sequence[Video]) -> Census:
        """The census of some of the videos (`kept`, in their order `among` those counted)."""
        names = {video.name for video in kept}
        rows = [i for i, video in enumerate(among) if video.name in names]
        counts, rates = tuple(self.counts[i] for i in rows), tuple(self.rates[i] for i in rows)
        return replace(
            _census(kept, counts, rates), left_out=self.left_out, unknown=self.unknown, untaken=self.untaken
        )


def survey(data: DataConfig, *, masks: bool = False) -> tuple[list[Video], Census]:
    """Return the videos to train on and their census: data.root less data.leave_out.

    With `masks` a video has only its labelled frames.

    Raises UserError when data.root does not give what data.expect says, or data.leave_out is not there or
    names none of its videos.
    """
    if data.leave_out is not None and not data.leave_out.is_file():
        raise UserError(
            f"data.leave_out={data.leave_out} is no file; `mamp data holdout` writes the list, or pass"
            " data.leave_out=null"
        )
    videos = training_sequences(data.root, masks=masks)
    census = take_census(videos, bad_frame=data.bad_frame)
    census = replace(census, untaken=(*said_untaken(data.root, videos), *said_twice(videos)))
    _refuse_unexpected(census, data.expect)
    if data.leave_out is None:
        return videos, census
    names = read_names(data.leave_out)
    own = [v.source.name if v.source.is_dir() else v.source.stem for v in videos]
    rest = [video for video, name in zip(videos, own, strict=True) if name not in names]
    if len(rest) in (0, len(videos)):
        raise UserError(
            f"data.leave_out={data.leave_out} names {'all' if not rest else 'none'} of the {len(videos)}"
            " videos of data.root; give the list that was cut from them, or leave it out"
        )
    unknown = tuple(sorted(names.difference(own)))
    return rest, replace(census.of(rest, among=videos), left_out=len(videos) - len(rest), unknown=unknown)


def said_untaken(roots: Sequence[Root], videos: Sequence[Video]) -> list[str]:
    """Lines about what lies in the roots and is not taken, and holds frames or video."""
    said = []
    for number, root in enumerate(roots):
        found = untaken_of(root, [video.source for video in videos if video.root == number])
        said += lines(root.path, [one for one in found if one.lost])
    return said


def said_twice(videos: Sequence[Video]) -> list[str]:
    """Return a line about videos that data.root gives more than once, as when one root holds another."""
    names: dict[str, list[str]] = {}
    for video in videos:
        names.setdefault(os.path.realpath(video.source), []).append(video.name)
    twice = [f"{' and '.join(same)} of {place}" for place, same in names.items() if len(same) > 1]
    if not twice:
        return []
    count = plural(len(twice), "video")
    return [
        f"warning: data.root gives {count} more than once, which then weigh more: {first_ten(twice)}; give"
        " each place once (data.repeat weighs a place)"
    ]


def _refuse_unexpected(census: Census, expected: Expected) -> None:
    found = {"videos": len(census.counts), "frames": census.frames, "digest": census.digest}
    for key, wanted in expected:
        value = found[key]
        if wanted is not None and wanted != value:
            raise UserError(
                f"data.expect.{key} is {wanted}, and data.root gives {value} ({found['videos']} videos,"
                f" {found['frames']} frames, list {found['digest']}); bring all of it (`mamp data check`"
                f" lists what is missing), or pass data.expect.{key}=null to train on this"
            )


def take_census(videos: Sequence[Video], *, bad_frame: str = "error") -> Census:
    """Count the frames of every video; with bad_frame=skip one that cannot be opened counts 0."""
    counts: list[int] = []
    rates: list[float | None] = []
    for video in videos:
        count, rate = len(video.frame_names), video.fps
        if not count or (rate is None and video.source.is_file()):
            try:
                with video.open(bad_frame=bad_frame) as source:
                    count, rate = len(source), rate or source.fps
            except UserError:
                if bad_frame != "skip":
                    raise
                count = 0
        counts.append(count)
        rates.append(rate)
    return _census(videos, tuple(counts), tuple(rates))


def _census(videos: Sequence[Video], counts: tuple[int, ...], rates: tuple[float | None, ...]) -> Census:
    listing = [
        f"{video.name} {count} {rate}" for video, count, rate in zip(videos, counts, rates, strict=True)
    ]
    digest = hashlib.sha256("\n".join(listing).encode(errors="surrogateescape")).hexdigest()[:12]
    return Census(counts, rates, digest, tuple(video.root for video in videos))
