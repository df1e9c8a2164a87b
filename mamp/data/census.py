"""What there is to train on: counted before the first step, and compared when a run goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from mamp.data.datasets import Sequence as Video
from mamp.errors import UserError


@dataclass(frozen=True)
class Census:
    """What a run trains on. counts, rates: frames and frames a second of each video; digest: of names, counts, rates;
    roots: which of data.root each video lies in."""

    counts: tuple[int, ...]
    rates: tuple[float | None, ...]
    digest: str
    roots: tuple[int, ...] = ()

    @property
    def frames(self) -> int:
        """Frames of all videos together."""
        return sum(self.counts)


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
    listing = [
        f"{video.name} {count} {rate}" for video, count, rate in zip(videos, counts, rates, strict=True)
    ]
    digest = hashlib.sha256("\n".join(listing).encode()).hexdigest()[:12]
    return Census(tuple(counts), tuple(rates), digest, tuple(video.root for video in videos))
