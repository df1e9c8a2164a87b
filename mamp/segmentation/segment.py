"""One's own video: masks of every frame into a folder, and a film of them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from mamp import __version__
from mamp.core.devices import peak_process_mb
from mamp.core.errors import UserError, plural
from mamp.core.files import folder_for, remove_leftovers
from mamp.core.progress import Progress, say
from mamp.segmentation.given import MaskLog, given_masks
from mamp.segmentation.stream import Steps, Timing
from mamp.segmentation.unfinished import Work, open_work
from mamp.segmentation.ways import Carrier, Made, Plan
from mamp.video.export import Clip, Saver, Shot, Wish, open_saver
from mamp.video.export.films import FilmSaver
from mamp.video.first_masks.reading import Reader
from mamp.video.frames import FrameSource, open_frames
from mamp.video.masks import read_mask, write_mask
from mamp.video.overlay import OVERLAY_STYLES, STYLES, Look, heatmap
from mamp.video.parts import Part, Place, find

_OF_THE_SEGMENTER = frozenset(OVERLAY_STYLES) - frozenset(STYLES)  # drawn from more than labels
_SURE = frozenset({"csv", "coco"})  # forms that hold how sure an object is
_OR_ELSE = "or pass --bad-frame skip or repeat (the setting evaluate.bad_frame)"


def segment(
    video: Path,
    masks: Path | Sequence[Path],
    out: Path,
    make_segmenter: Callable[[], Steps],
    *,
    reader: Reader | None = None,
    part: Part | None = None,
    at: Place | None = None,
    direction: str | None = None,
    overlay: Path | None = None,
    overlay_style: str = "blend",
    look: Look | None = None,
    save: Sequence[Wish] = (),
    bad_frame: str = "error",
    stream: int | None = None,
    redo: bool = False,
    run_info: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Timing:
    """Write OUT/NAME.png for every frame, as they are finished; how many and how fast.

    A run that was stopped goes on where it was when the same is asked for again: the masks are those of an
    undisturbed run. What it needs for that lies in OUT/.unfinished until the end.

    Args:
        video: a folder of images or a video file.
        masks: a mask of one frame, several with one object each, or a folder of masks named like frames, for
            objects that come later and for corrections; see `mamp.segmentation.given.given_masks`.
        out: the folder of the masks.
        make_segmenter: returns a new segmenter.
        reader: what reads the masks, with the user's own colours or inverted.
        part: which frames; all by default.
        at: the frame that a single PNG is of, as `mamp.video.parts.find` takes it; the first by default.
        direction: `forward`, `backward` or `both`; None is both where the first object is given after the
            first frame. Frames that no run reaches get a mask that is all background.
        overlay: a film of the masks over the frames, whole or not at all.
        overlay_style: one of `OVERLAY_STYLES`; look: style, opacity and colours, in its place.
        save: other forms to write as well, each whole or not at all.
        stream: which of a file's video streams; None is the one with the most pixels.
        redo: begin again where an unfinished run lies in OUT.
        run_info: what masks depend on besides; an unfinished run with another one is refused.

    Raises:
        UserError: before anything is written when a mask has another size than the frames, none has an
            object, a name is no frame's, OUT holds masks of other frames or an unfinished run with other
            settings, or cannot be written, or the method cannot draw the overlay; finished masks stay when a
            later frame is bad.
    """
    look = look or Look(overlay_style)
    masks = [masks] if isinstance(masks, Path) else list(masks)
    _refuse_at_once(video, masks, out, overlay=overlay, save=save)
    timing = Timing()
    with ExitStack() as stack:
        opened = open_frames(video, bad_frame=bad_frame, stream=stream, or_else=_OR_ELSE)
        whole = stack.enter_context(opened)
        source = stack.enter_context((part or Part()).of(whole))
        source.refuse_mixed_sizes()
        index = 0 if at is None else _place(at, whole, source)
        log = MaskLog(line=(lambda line: None) if quiet else say, warning=say)
        given = given_masks(masks, source.names, index=index, reader=reader, log=log)
        plan = Plan.of(given, direction)
        _refuse_strangers(out, whole.names, source.names)
        _refuse_drawing(overlay, look.style, plan, make_segmenter)
        stack.enter_context(folder_for(out))
        sure = any(wish.kind in _SURE for wish in save)
        settings = _settings(source, plan, bad_frame=bad_frame, sure=sure, model=run_info)
        redo = redo or look.style in _OF_THE_SEGMENTER
        work = stack.enter_context(_kept_if_useful(open_work(out, settings, redo=redo, sure=sure)))
        remove_leftovers(out)  # now that nobody else writes here
        steps = plan.steps(len(source))
        unit = "frames" if steps <= len(source) else "steps"
        progress = stack.enter_context(Progress(steps, unit=unit, quiet=quiet))
        progress.begin(video.name)
        if not work.has_state and (old := sum(1 for _ in out.glob("*.png"))):
            progress.print(f"{out} holds {plural(old, 'mask')} of an earlier run; this run replaces them")
        watch = _Watch(progress, steps, out, name=video.name, frames=len(source))
        clip = Clip.of(source, look=look)
        savers = [open_saver(wish, clip) for wish in save]
        if overlay is not None:
            savers.append(_Overlay(overlay, clip, watch))
        for saver in savers:
            stack.enter_context(saver)
        calls = watch.stepped, watch.skipped
        carrier = Carrier(source, plan, make_segmenter, work, timing, bool(savers), *calls)
        began = time.perf_counter()
        for made in stack.enter_context(closing(carrier.frames())):
            with nullcontext() if made.labels is None else timing.writing():
                _write(made, out, source.names[made.index], savers)
        timing.seconds = time.perf_counter() - began
        work.remove()
        if report := watch.segmenter.report:
            progress.print(f"{video.name}: {report}")
        for note in dict.fromkeys(note for saver in savers for note in saver.notes):
            progress.print(f"{video.name}: {note}")
    return timing


def _write(made: Made, out: Path, name: str, savers: Sequence[Saver]) -> None:
    """Write a frame's mask, and show it to the savers."""
    file = out / f"{name}.png"
    labels = made.labels
    if labels is not None:
        write_mask(file, labels)
    elif savers:
        labels = read_mask(file)
    for saver in savers:
        assert labels is not None
        saver.write(Shot(made.index, name, labels, made.frame, made.sure))


class _Overlay(FilmSaver):
    """The film of masks over frames, in styles that show what the segmenter knows too."""

    def __init__(self, path: Path, clip: Clip, watch: _Watch) -> None:
        super().__init__(path, clip)
        self._watch = watch

    def picture(self, shot: Shot) -> np.ndarray:
        """The film's picture of a frame."""
        style, segmenter = self.clip.look.style, self._watch.segmenter
        if style in STYLES:
            return super().picture(shot)
        if style == "erf":
            return heatmap(shot.pixels, segmenter.receptive_field())
        if segmenter.probabilities is None:  # the frame of the first mask
            return heatmap(shot.pixels, (shot.labels > 0)[None].astype(np.float32))
        return heatmap(shot.pixels, segmenter.probabilities[1:].float().cpu().numpy())


_SLOWER = 1.4  # times the seconds a frame last shown, above which the cost of a run is shown again
_WORTH = 10.0  # seconds left, at least, for that


class _Watch:
    """Shows how far a run is, and its cost. State: the last segmenter, the seconds a frame shown last."""

    def __init__(self, progress: Progress, total: int, out: Path, *, name: str, frames: int) -> None:
        self._progress, self._total, self._out, self._name = progress, total, out, name
        self._what = plural(frames, "frame") + (f", {total} steps both ways" if total > frames else "")
        self.segmenter: Any = None
        self._shown = 0.0

    def skipped(self, count: int) -> None:
        """So many frames of a direction were segmented by an earlier process."""
        if count > 0:
            self._progress.skip(count)
            self._progress.print(
                f"{self._name}: {plural(count, 'frame')} were finished before; goes on there"
            )

    def stepped(self, segmenter: Any) -> None:
        """Another frame was segmented."""
        self.segmenter = segmenter
        self._progress.advance()
        each, left = self._progress.seconds_each, self._progress.left
        if self._progress.measured == 2 < self._total:
            self._shown = each = self._progress.seconds_last  # the first frame has its mask already
            left = self._progress.left_at(each)
            self._progress.print(
                f"{self._name}: {self._what}, {each:.2g} s a frame, about {left} left,"
                f" {peak_process_mb():,.0f} MB of memory; masks go to {self._out}"
            )
        elif 0 < self._shown * _SLOWER < each and left.total_seconds() > _WORTH:
            self._shown = each
            self._progress.print(
                f"{self._name}: slower now, {each:.2g} s a frame, about {left} left,"
                f" {peak_process_mb():,.0f} MB of memory"
            )


@contextmanager
def _kept_if_useful(work: Work) -> Iterator[Work]:
    """Remove the folder of a run that ends early when there is no state in it to go on from."""
    try:
        yield work
    finally:
        if not work.has_state:
            work.remove()
        work.release()


def _settings(
    source: FrameSource, plan: Plan, *, bad_frame: str, sure: bool, model: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What the masks depend on besides the model, as JSON."""
    file = source.path if source.path.is_file() else Path(source.where(0))
    given = {
        source.names[index]: hashlib.sha256(np.ascontiguousarray(one.read()).tobytes()).hexdigest()[:16]
        for index, one in sorted(plan.given.items())
    }
    names = hashlib.sha256("\n".join(source.names).encode(errors="surrogateescape")).hexdigest()[:16]
    return {
        "version": __version__,
        "video": {"path": str(source.path.resolve()), "bytes": file.stat().st_size},
        "frames": {"count": len(source), "first": source.names[0], "last": source.names[-1], "names": names},
        "masks": given,
        "direction": plan.direction,
        "bad_frame": bad_frame,
        "confidence": sure,
        "model": model or {},
    }


def _refuse_at_once(
    video: Path, masks: Sequence[Path], out: Path, *, overlay: Path | None, save: Sequence[Wish]
) -> None:
    """UserError for what can be seen without looking at the video."""
    places = [("the masks", mask if mask.is_dir() else mask.parent) for mask in masks]
    for kind, place in (("the video", video), *places):
        if out.resolve() == place.resolve():
            raise UserError(
                f"--out {out} is or holds {kind}, whose files would be replaced; choose another --out"
            )
    films = [] if overlay is None else [("--overlay", overlay)]
    for option, path in (*films, *((f"--save {wish.kind}", wish.path) for wish in save)):
        for kind, place in (
            ("the video", video),
            *(("the mask", m) for m in masks),
            ("the masks' folder", out),
        ):
            if path.resolve() == place.resolve():
                raise UserError(
                    f"{option} {path} is {kind} itself, which would be replaced; choose another file"
                )


def _place(at: Place, whole: FrameSource, source: FrameSource) -> int:
    """The index in `source` of the frame at a place in the whole video; UserError when it is not in it."""
    index = find(at, whole, option="--at")
    name = whole.names[index]
    if name in source.names:
        return source.names.index(name)
    raise UserError(
        f"--at {at} is frame {name}, which this run leaves out: it uses {plural(len(source), 'frame')},"
        f" {source.names[0]} to {source.names[-1]}; change --at, or --start, --end, --every or --max-frames"
    )


def _refuse_strangers(out: Path, names: Sequence[str], used: Sequence[str]) -> None:
    """UserError when OUT holds masks of other frames than the used ones, and would pass for this run's."""
    strangers = sorted({path.stem for path in out.glob("*.png")} - set(used)) if out.is_dir() else []
    if strangers:
        kind = "frames that this run leaves out" if set(strangers) <= set(names) else "no frame of this video"
        raise UserError(
            f"--out {out} holds {plural(len(strangers), 'mask')} of {kind}, first {strangers[0]}.png; remove"
            " them, or choose another --out"
        )


def _refuse_drawing(
    overlay: Path | None, style: str, plan: Plan, make_segmenter: Callable[[], Steps]
) -> None:
    """UserError for a style that shows what a segmenter knows where it does not know it."""
    if overlay is None or style not in _OF_THE_SEGMENTER:
        return
    if plan.direction != "forward":
        raise UserError(f"--overlay-style {style} is drawn forward only; add --direction forward")
    if style == "erf":
        segmenter: Any = make_segmenter()
        segmenter.refuse_receptive_field()
