"""Pack a folder of frames or videos into one small H.264 video a clip, read quickly at any frame."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mamp.config.data import Root
from mamp.config.pack import PackConfig
from mamp.core.errors import UserError, plural
from mamp.core.files import Locks, make_folder, remove_leftovers, sha256_of, whole, write_json, write_text
from mamp.core.processes import begin_helper
from mamp.core.progress import Progress, say
from mamp.core.texts import read_json
from mamp.datasets.sequences import Sequence as Video
from mamp.datasets.sequences import training_sequences
from mamp.datasets.untaken import lines, untaken_of
from mamp.video.decoding import Undecodable
from mamp.video.frames import FrameSource, VideoFile
from mamp.video.packed import FORMAT, INDEX, UNFINISHED, PackedReader, parse_clip, read_index

RATE_UNTOLD = 24.0  # what the file says where the source does not; the index says null
_SETTINGS = "settings.json"
_LOCK = ".lock"  # number 0 is held by the process that packs, the others by its helpers
_HELPERS = 256  # of whom a killed process can leave that many behind, for a moment
TRIED = 12  # clips whose reading is timed before and after


@dataclass(frozen=True)
class Summary:
    """What packing achieved. before, after: bytes of all clips, and frames read a second at random."""

    clips: int
    frames: int
    redone: int
    bytes_before: int
    bytes_after: int
    speed_before: float
    speed_after: float


def pack(
    root: Root,
    out: Path,
    knobs: PackConfig,
    *,
    processes: int = 1,
    bad_frame: str = "error",
    quiet: bool = False,
) -> Summary:
    """Write OUT/NAME.mp4 of every clip of `root`, read each back, then write the index OUT/pack.json.

    root: as `training_sequences` takes it. processes: clips that are worked on at a time. bad_frame: see
    `open_frames`. Finished clips stay when this is interrupted. They are made again only if their source or
    their file has changed.

    Raises UserError when `root` holds no video, OUT holds other things or another packing, and for a bad
    frame.
    """
    videos = training_sequences([root])
    for line in lines(
        root.path, [one for one in untaken_of(root, [video.source for video in videos]) if one.lost]
    ):
        say(line)
    files = _files(videos)
    with _claimed(out, root, knobs, {video.name for video in videos}) as known:
        jobs = [(video, out / file, knobs, bad_frame) for video, file in zip(videos, files, strict=True)]
        waiting = [job for job in jobs if not _is_finished(job, known.get(job[0].name))]
        with Progress(len(jobs), unit="clips", done=len(jobs) - len(waiting), quiet=quiet) as progress:
            progress.begin("packing")
            for name, record in _run(waiting, processes, out / UNFINISHED / _LOCK):
                known[name] = record
                progress.advance()
        _write_index(out / INDEX, knobs, known)
    shutil.rmtree(out / UNFINISHED)
    return Summary(
        clips=len(videos),
        frames=sum(len(known[video.name]["packets"]) for video in videos),
        redone=len(waiting),
        bytes_before=sum(size for video in videos for _, size in _source_files(video)),
        bytes_after=sum(known[video.name]["bytes"] for video in videos),
        speed_before=_speed(videos, lambda n: videos[n].open(bad_frame=bad_frame)),
        speed_after=_speed(videos, lambda n: VideoFile(out / files[n])),
    )


def _files(videos: Sequence[Video]) -> list[str]:
    """A file name for each clip."""
    files = [f"{video.name.replace('/', '-')}.mp4" for video in videos]
    twice = (
        next((file for file in files if files.count(file) > 1), None)
        if len(set(files)) < len(files)
        else None
    )
    if twice is not None:
        raise UserError(f"two clips would both be packed as {twice}; rename one of them")
    return files


@contextlib.contextmanager
def _claimed(out: Path, root: Root, knobs: PackConfig, names: Set[str]) -> Iterator[dict[str, Any]]:
    """Take OUT as this packing's folder; its finished clips, by name. Refusing changes nothing."""
    if out.resolve() == root.path.resolve():
        raise UserError(f"{out} is the video itself, which would be replaced; choose another OUT")
    unfinished = out / UNFINISHED
    if out.is_dir() and any(out.iterdir()) and not unfinished.is_dir() and not (out / INDEX).is_file():
        raise UserError(f"{out} holds other files; choose an OUT that is empty or not there yet")
    known = _indexed(out, knobs)
    _refuse_others(out, known, root, names)
    make_folder(out)
    make_folder(unfinished)
    with Locks(unfinished / _LOCK) as locks:
        if not locks.take(0):
            raise UserError(f"another process is packing into {out}; wait for it, or choose another OUT")
        for helper in range(1, 1 + _HELPERS):
            locks.wait(helper)
            locks.drop(helper)
        remove_leftovers(out)
        remove_leftovers(unfinished)
        write_json(unfinished / _SETTINGS, knobs.model_dump(mode="json"))
        known |= _finished(out)
        _refuse_others(out, known, root, names)
        yield {name: record for name, record in known.items() if name in names}


def _indexed(out: Path, knobs: PackConfig) -> dict[str, Any]:
    """Name -> record of what the index has; UserError when OUT was packed with other settings."""
    settings, known = out / UNFINISHED / _SETTINGS, {}
    now = knobs.model_dump(mode="json")
    then = now
    if (out / INDEX).is_file():
        index = read_index(out / INDEX)
        known, then = dict(index["clips"]), index["settings"]
    elif settings.is_file():
        then = read_json(settings)
    for key, value in now.items():
        if then.get(key) != value:
            raise UserError(
                f"{out} was packed with --{key} {then.get(key)}, and now it is {value}; give the same, or"
                " another OUT"
            )
    return known


def _finished(out: Path) -> dict[str, Any]:
    """Name -> record of what was packed since the index was written."""
    known = {}
    for file in (out / UNFINISHED).glob("*.mp4.json"):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            name, record = read_json(file)
            parse_clip(out, name, record)
            known[name] = record
    return known


def _refuse_others(out: Path, known: Mapping[str, Any], root: Root, names: Set[str]) -> None:
    """UserError where OUT has clips that the source has not: training on OUT would see them."""
    others = [out / known[name]["file"] for name in sorted(known.keys() - names)]
    if there := [file for file in others if file.exists()]:
        raise UserError(
            f"{out} holds {plural(len(there), 'clip')} that {root.path} does not have, {there[0].name} first;"
            " delete what is not to be trained on, or choose another OUT"
        )


def _write_index(path: Path, knobs: PackConfig, clips: dict[str, Any]) -> None:
    """One line a clip."""
    lines = [f"{json.dumps(name)}: {json.dumps(clips[name])}" for name in sorted(clips)]
    head = f'{{"format": {json.dumps(FORMAT)}, "settings": {knobs.model_dump_json()}, "clips": {{\n'
    write_text(path, head + ",\n".join(lines) + "\n}}\n")


# ---------------------------------------------------------------- one clip


Job = tuple[Video, Path, PackConfig, str]


def _run(jobs: Sequence[Job], processes: int, lock: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, record) of every clip as it is finished."""
    if processes == 1 or len(jobs) < 2:
        yield from map(_pack_clip, jobs)
        return
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(
        min(processes, len(jobs)), mp_context=context, initializer=_begin, initargs=(lock,)
    )
    try:
        for future in as_completed([executor.submit(_pack_clip, job) for job in jobs]):
            yield future.result()
    except BrokenExecutor:
        raise UserError(
            "a packing process was killed, perhaps for want of memory; run it again, with fewer --processes"
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


_held: list[Locks] = []  # as long as this process lives


def _begin(lock: Path) -> None:
    """In each process: Ctrl-C is the parent's affair, and without the parent there is nothing to do."""
    begin_helper()
    locks = Locks(lock)
    _held.append(locks)
    next((number for number in range(1, 1 + _HELPERS) if locks.take(number)), None)


def _pack_clip(job: Job) -> tuple[str, dict[str, Any]]:
    """Write one clip, read it back, and keep its record until the index is written."""
    video, path, knobs, bad_frame = job
    with whole(path) as partial:
        with video.open(bad_frame=bad_frame) as source:
            fps = video.fps or source.fps
            kept = _encode(source, partial, knobs, fps=fps)
        record = {
            "file": path.name,
            "fps": fps,
            "bytes": partial.stat().st_size,
            "sha256": sha256_of(partial),
            "keyframes": knobs.keyframes,
            "source": _fingerprint(video, bad_frame),
            **_layout(partial),
        }
        record["frames"] = len(record["packets"])
        _read_back(partial, video, record, kept, knobs)
    write_json(path.parent / UNFINISHED / f"{path.name}.json", [video.name, record])
    return video.name, record


def _encode(
    source: FrameSource, path: Path, knobs: PackConfig, *, fps: float | None
) -> dict[int, np.ndarray]:
    """The frames as H.264, nothing in which waits for a later frame; some of them, as they went in."""
    import av

    options = {
        "crf": str(knobs.quality),
        "g": str(knobs.keyframes),
        "keyint_min": str(knobs.keyframes),
        "sc_threshold": "0",
        "bf": "0",
        "preset": "medium",
        "tune": "fastdecode",  # without deblocking and arithmetic coding: decoded in half the time
    }
    kept: dict[int, np.ndarray] = {}
    count = 0
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as file:
        rate = Fraction(fps or RATE_UNTOLD).limit_denominator(1001)
        stream: Any = file.add_stream("libx264", rate=rate, options=options)
        stream.thread_count = 1
        for index, frame in source.stream():
            small = _shrink(frame, knobs.size)
            if not count:
                stream.height, stream.width = small.shape[:2]
                stream.pix_fmt = "yuv420p"
            if index in (0, len(source) // 2):
                kept[count] = small
            file.mux(stream.encode(av.VideoFrame.from_ndarray(small, format="rgb24")))
            count += 1
        if not count:
            raise UserError(f"{source.path} has no frame that can be read; leave it out, or fetch it again")
        file.mux(stream.encode())
    return kept


def _shrink(frame: np.ndarray, size: int) -> np.ndarray:
    """uint8 (H, W, 3) with the short side `size`, or as it is where that is not larger; both sides even."""
    height, width = frame.shape[:2]
    scale = min(1.0, size / min(height, width))
    wanted = tuple(max(2, 2 * round(side * scale / 2)) for side in (width, height))
    if wanted == (width, height):
        return frame
    return np.asarray(Image.fromarray(frame).resize(wanted, Image.Resampling.BICUBIC))


def _layout(path: Path) -> dict[str, Any]:
    """Where the frames of a file lie, read from the file."""
    import av

    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        packets = [(p.pos, bytes(p)) for p in file.demux(stream) if p.size]
        head = bytes(stream.codec_context.extradata or b"")
        size = [stream.codec_context.width, stream.codec_context.height]
    sizes = [len(content) for _, content in packets]
    starts = np.concatenate(([0], np.cumsum(sizes))) + packets[0][0]
    if [position for position, _ in packets] != starts[:-1].tolist():
        raise RuntimeError(f"the frames of {path} do not lie one behind the other")
    checks = [zlib.crc32(content) for _, content in packets]
    return {"size": size, "head": head.hex(), "start": packets[0][0], "packets": sizes, "crc32": checks}


def _read_back(
    path: Path, video: Video, record: dict[str, Any], kept: dict[int, np.ndarray], knobs: PackConfig
) -> None:
    """Decode every frame from the file; UserError when one cannot be, or does not show what went in."""
    reader = PackedReader(parse_clip(path.parent, video.name, {**record, "file": path.name}))
    try:
        for number in range(record["frames"]):
            frame = reader.frame(number)
            if number in kept:
                difference = np.abs(_grey(frame) - _grey(kept[number])).mean()
                if difference > 8 + knobs.quality / 2:
                    raise Undecodable(f"frame {number} is {difference:.0f} grey levels off")
    except Undecodable as error:
        raise UserError(
            f"{video.source} was packed and does not read back ({error}); see that the disk is sound, and run"
            " it again"
        ) from None
    finally:
        reader.close()


def _grey(frame: np.ndarray) -> np.ndarray:
    return frame.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


# ---------------------------------------------------------------- what is finished


def _is_finished(job: Job, record: Mapping[str, Any] | None) -> bool:
    """Whether the clip's file is the one that was made of this source."""
    video, path, _, bad_frame = job
    if (
        record is None
        or record.get("source") != _fingerprint(video, bad_frame)
        or record["file"] != path.name
    ):
        return False
    return path.is_file() and path.stat().st_size == record["bytes"] and sha256_of(path) == record["sha256"]


def _fingerprint(video: Video, bad_frame: str) -> str:
    """Changes with names and lengths of the frames' files, the policy for bad ones, and a rate given."""
    listing = repr((list(_source_files(video)), bad_frame, video.fps))
    return hashlib.sha256(listing.encode(errors="surrogateescape")).hexdigest()[:16]


def _source_files(video: Video) -> Iterator[tuple[str, int]]:
    """(name, bytes) of the files that hold a video's frames."""
    if video.source.is_file():
        yield video.source.name, video.source.stat().st_size
        return
    wanted = set(video.frame_names)
    with os.scandir(video.source) as found:
        for entry in sorted(found, key=lambda entry: entry.name):
            if Path(entry.name).stem in wanted and entry.is_file():
                yield entry.name, entry.stat().st_size


# ---------------------------------------------------------------- before and after


def _speed(videos: Sequence[Video], open_clip: Callable[[int], FrameSource]) -> float:
    """Frames a second of one process that reads pairs of frames as training does, opening included."""
    rng = np.random.default_rng(0)
    frames, seconds = 0, 0.0
    for number in np.linspace(0, len(videos) - 1, min(TRIED, len(videos))).astype(int).tolist():
        began = time.perf_counter()
        with open_clip(number) as source:
            for index in rng.integers(len(source), size=4).tolist():
                with contextlib.suppress(UserError):  # a bad frame, where the policy lets it pass
                    source[index]
                frames += 1
        seconds += time.perf_counter() - began
    return frames / seconds
