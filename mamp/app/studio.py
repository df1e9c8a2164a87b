"""One video at work: its project, its views, its engine, and which tab of the browser may change it."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mamp import methods
from mamp.app.doubt import Place, next_place
from mamp.app.engine import KEPT_MB, Engine
from mamp.app.export import export
from mamp.app.project import Frame, Project
from mamp.app.proposal import Proposer, Wish, of_person
from mamp.app.shelf import example, recent
from mamp.app.view import View
from mamp.core.errors import UserError
from mamp.segmentation.model import Model
from mamp.video.frames import VIDEO_SUFFIXES, FrameSource, open_frames
from mamp.video.masks import PALETTE

HOME = Path("runs/app")  # of projects without a folder of their own
ABSENT = 8.0  # seconds without a word from the tab that may draw, after which another one may


class Studio:
    """What the server's routes act on. State: the project, its engine, an export, the tab that may draw.

    Without a video there is no project until `open`.
    """

    def __init__(
        self,
        model: Model,
        *,
        out: Path | None = None,
        kept_mb: float = KEPT_MB,
        suggest: str | None = None,
        reload: Callable[[str, str], Model] | None = None,
    ) -> None:
        """suggest: MODULE:FUNCTION that answers clicks, see `mamp.app.proposal.of_person`. reload: loads the
        model with another preset on another device; None where neither can be chosen.
        """
        self.model, self.out, self._kept_mb = model, out, kept_mb
        self.project: Project | None = None
        self.engine: Engine | None = None
        self.view: View | None = None
        self.exporting: dict[str, Any] = {}
        self._version = 1
        self._source: FrameSource | None = None
        self._guard = threading.Lock()
        self._alone = threading.Lock()  # held by an export and by what changes the masks of all frames
        self._busy = ""  # what holds it
        self._proposing = threading.Lock()
        self._tab, self._seen = "", 0.0
        self._left: list[str] = []  # tabs that were closed; a question of theirs may still be waiting
        self._own, self._reload = of_person(suggest) if suggest else None, reload
        self._proposer = self._new_proposer()

    # -- the video

    def open(self, video: Path, folder: Path | None = None) -> None:
        """Begin with a video, or go on with its project.

        folder: of the project; by default the one given as `out`, or runs/app/NAME.

        Raises UserError when the video cannot be read or worked on.
        """
        source = open_frames(video, bad_frame=self.model.config.evaluate.bad_frame)
        name = video.resolve().stem if video.is_file() else video.resolve().name
        folder = folder or self.out or HOME / name
        if video.is_dir() and folder.resolve() == video.resolve():
            raise UserError(f"--out {folder} is the video itself; choose another folder")
        project = Project(folder, source)
        if not project.objects:
            project.add_object()
        self.close()
        self._source, self.project = source, project
        self.view = View(source.clone(), source.clone())
        self.engine = Engine(
            project, source.clone(), self.model.segmenter, kept_mb=self._kept_mb, changed=self.changed
        )
        self.exporting = {}
        self.changed()
        threading.Thread(target=self._look, args=(project,), daemon=True).start()

    def _new_proposer(self) -> Proposer:
        model = self.model
        return Proposer(model.network, model.config.method, model.device, suggest=self._own)

    def recent(self) -> list[dict[str, Any]]:
        """Projects that can be opened."""
        return recent(HOME, *([self.out] if self.out else []))

    def reopen(self, number: int) -> None:
        """Open one of `recent`; UserError where it is there no more."""
        there = self.recent()
        if not 0 <= number < len(there):
            raise UserError("that project is not there any more; choose another")
        self.open(Path(there[number]["video"]), Path(there[number]["folder"]))

    def open_example(self) -> None:
        """Open the clip that comes with the page, which is rendered the first time."""
        self.open(example(HOME), HOME / "example")

    def leave_video(self) -> None:
        """Close the video, so that another one can be opened; UserError while something is computed."""
        if self.engine is not None and self.engine.status.running:
            raise UserError("frames are being computed; stop that first")
        self._enter_alone("an export is being written")
        try:
            self.close()
            self.out = None  # the next video has a folder of its own
        finally:
            self._alone.release()
        self.changed()

    def settings(self) -> dict[str, Any]:
        """What can be chosen, and what is: presets and devices."""
        import torch

        method = self.model.config.method
        presets = list(methods.get(method.name).presets) if self._reload else []
        cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
        now = str(self.model.device)
        devices = list(dict.fromkeys(["cpu", *cuda, now])) if self._reload else [now]
        return {
            "preset": str(vars(method).get("preset", "")),
            "presets": presets,
            "device": now,
            "devices": devices,
        }

    def set(self, preset: str, device: str) -> None:
        """Segment by another preset or on another device from the next run on.

        Raises UserError for one that is not known, and while something is computed.
        """
        known = self.settings()
        if self._reload is None or preset not in ["", *known["presets"]] or device not in known["devices"]:
            raise UserError(f"preset {preset[:20]} on {device[:20]} cannot be chosen here")
        if self.engine is not None and self.engine.status.running:
            raise UserError("frames are being computed; stop that first")
        model = self._reload(preset, device)
        if self.engine is not None:
            self.engine.use(model.segmenter)
        with self._proposing:
            self.model = model
            self._proposer = self._new_proposer()
        self.changed()

    def _look(self, project: Project) -> None:
        """Find out which objects the masks of an earlier time show; news for the page now and then."""
        for index in range(len(project.names)):
            if project is not self.project:
                return
            with contextlib.suppress(UserError):  # a mask that cannot be read says so where it is shown
                project.look(index)
            if index % 200 == 199:
                self.changed()
        self.changed()

    def close(self) -> None:
        """Stop what runs and let go of the project, which is saved already."""
        if self.engine is not None:
            self.engine.stop()
            self.engine.wait(30)
        if self.project is not None:
            self.project.close()
        self.project = self.engine = self.view = None

    def dropped(self, name: str) -> Path:
        """Return the path for an uploaded video `name`, in its project's folder: `out`, or a new one.

        Raises UserError where `out` has a project or an uploaded video already.
        """
        name = file_name(name)
        if self.out is None:
            stem = Path(name).stem
            places = (HOME / (stem if n == 1 else f"{stem}-{n}") for n in itertools.count(1))
            return next(place for place in places if not place.exists()) / name
        there = next((f for f in sorted(self.out.glob("*.*")) if f.suffix.lower() in VIDEO_SUFFIXES), None)
        if there is not None or (self.out / "project.json").exists():
            raise UserError(
                f"{self.out} has a video's project already; start `mamp app {there or 'VIDEO'} --out"
                f" {self.out}` to go on with it, or give another folder with --out"
            )
        return self.out / name

    def adopt(self, received: Path, video: Path) -> None:
        """Begin with a file that was `received`, and keep it as `video` in its project's folder.

        Raises UserError where a file of that name exists, or the file cannot be read as a video. Nothing of
        it is left then.
        """
        try:
            video.touch(exist_ok=False)  # two processes may have received one
        except FileExistsError:
            raise UserError(f"{video} is there already; give another folder with --out") from None
        try:
            os.replace(received, video)
            self.open(video, video.parent)
        except UserError as error:
            video.unlink(missing_ok=True)
            raise UserError(str(error).replace(str(video), video.name)) from None  # as the person knows it
        except BaseException:
            video.unlink(missing_ok=True)
            raise

    @staticmethod
    def room(folder: Path) -> int:
        """Bytes that may be put there."""
        return shutil.disk_usage(folder).free

    # -- what the page shows

    @property
    def version(self) -> int:
        """Grows with whatever the page shows."""
        return self._version

    def changed(self) -> None:
        """There is something new to show."""
        with self._guard:
            self._version += 1

    def state(self, tab: str) -> dict[str, Any]:
        """All that the page shows but pictures and masks, as JSON."""
        version = self.version
        state: dict[str, Any] = {"version": version, "yours": self.holds(tab), "method": self._method()}
        state["settings"] = self.settings()
        project, engine = self.project, self.engine
        if project is None or engine is None:
            return {**state, "video": None, "recent": self.recent()}
        return {
            **state,
            "video": str(project.video),
            "folder": str(project.folder),
            "size": project.size,
            "fps": project.fps,
            "names": project.names,
            "objects": [
                {"id": o.id, "name": o.name, "colour": PALETTE[o.id].tolist()} for o in project.objects
            ],
            "frames": [
                _row(*known)
                for known in zip(project.frames(), project.revisions, project.present(), strict=True)
            ],
            "run": engine.as_json(),
            "export": self._export_state(project),
            "missing": not project.video.exists(),
        }

    def _export_state(self, project: Project) -> dict[str, Any]:
        """The export written last; `changed`: masks are not those it was begun with."""
        state = dict(self.exporting)
        return {**state, "changed": state.pop("made") != sum(project.revisions)} if state else {}

    def _method(self) -> str:
        name, weights = self.model.config.method.name, self.model.weights
        told = f"{name}, {weights.path.stem}" if weights else name
        joined = [one.split(" ", 1)[1] for one in self.model.joined]
        return ", with ".join([told, *joined])

    # -- which tab may draw

    def holds(self, tab: str) -> bool:
        """Whether this tab may change things: the first one, until it is silent or another takes over."""
        now = time.monotonic()
        with self._guard:
            if tab and tab not in self._left and (self._tab in ("", tab) or now - self._seen > ABSENT):
                self._tab, self._seen = tab, now
            return bool(tab) and self._tab == tab

    def take(self, tab: str) -> None:
        """This tab may change things from now on, and no other."""
        with self._guard:
            self._tab, self._seen = tab, time.monotonic()
        self.changed()

    def leave(self, tab: str) -> None:
        """Another tab may draw at once, if this one did."""
        with self._guard:
            if self._tab == tab:
                self._tab = ""
            self._left = [*self._left[-15:], tab]

    # -- what the page asks for

    def next_place(self, seen: list[int]) -> Place | None:
        """The frame whose correction is worth most, and the object to look at there."""
        assert self.project is not None
        return next_place(self.project.frames(), [o.id for o in self.project.objects], seen=seen)

    def propose(self, index: int, wish: Wish, number: int | None = None) -> np.ndarray:
        """bool (H, W): a mask from clicks; UserError when they show nothing.

        number: the object that is meant. Its mask on this frame is corrected by the clicks; without one its
        mask on a neighbouring frame is a hint.
        """
        assert self.view is not None and self.project is not None
        current, near = self._known_masks(index, number)
        with self._proposing:
            return self._proposer.mask(index, self.view.pixels(index), wish, current=current, near=near)

    def _known_masks(self, index: int, number: int | None) -> tuple[np.ndarray | None, np.ndarray | None]:
        """bool (H, W): an object's mask on a frame, and on one beside it; None for empty ones."""
        project = self.project
        assert project is not None
        found = []
        for other in (index, index - 1, index + 1) if number is not None else ():
            if 0 <= other < len(project.names) and project.frame(other).kind:
                with contextlib.suppress(UserError):
                    mask = project.mask(other) == number
                    if mask.any():
                        found.append((other, mask))
        current = next((mask for other, mask in found if other == index), None)
        return current, next((mask for other, mask in found if other != index), None)

    def export(self, kind: str) -> None:
        """Write an export in a thread of its own; how far it is stands in `exporting`."""
        assert self.project is not None and self._source is not None
        with self._guard:  # so that the end of one export and the begin of the next do not mix
            self._enter_alone("an export is being written")
            begun = {"kind": kind, "at": time.time(), "made": sum(self.project.revisions)}
            self.exporting = {**begun, "running": True, "done": 0, "total": len(self.project.names)}
        threading.Thread(target=self._export, args=(kind, self.project, (self._source)), daemon=True).start()
        self.changed()

    def _export(self, kind: str, project: Project, source: FrameSource) -> None:
        def progress(done: int, total: int) -> None:
            self.exporting = {**self.exporting, "done": done, "total": total}
            self.changed()

        begun = {key: self.exporting[key] for key in ("kind", "at", "made")}
        ended: dict[str, Any] = {**begun, "running": False}
        try:
            ended["path"] = str(export(kind, project, source, progress=progress))
        except UserError as error:
            ended["error"] = str(error)
        except Exception as defect:
            ended["error"] = f"a defect: {defect}"
            raise
        finally:
            with self._guard:
                self._alone.release()
                self.exporting = ended
            self.changed()
            source.close()

    def remove_object(self, number: int) -> None:
        """End a run, then take an object out of all masks.

        Raises UserError, with nothing changed, while an export reads the masks.
        """
        assert self.project is not None and self.engine is not None
        project = self.project
        self._enter_alone("an object is being removed")
        try:
            self.engine.edit_all(lambda: project.remove_object(number))
        finally:
            self._alone.release()

    def _enter_alone(self, what: str) -> None:
        if not self._alone.acquire(blocking=False):
            raise UserError(f"{self._busy}; wait for that")
        self._busy = what


def file_name(name: str) -> str:
    """A person's file name as one that any system takes: no folders, no control or reserved characters."""
    name = name.replace("\\", "/").rpartition("/")[2]
    name = "".join(c if c.isprintable() and c not in '<>:"|?*' else "-" for c in name)
    suffix = Path(name).suffix[:10]
    stem = name.removesuffix(suffix).strip(" .")[:80].strip(" .")
    return f"{stem or 'video'}{suffix}"


def _row(frame: Frame, made: int, ids: tuple[int, ...] | None) -> list[Any]:
    """[kind's letter, locked, stale, unsure, the mask's revision, ids, {id: unsure}].

    It is short, as there may be thousands. Values at the end that are 0 or empty are left out.
    """
    unsure = None if frame.unsure is None else round(frame.unsure, 3)
    row = [frame.kind[:1], int(frame.locked), int(frame.stale), unsure, made, ids or 0]
    each = {number: round(value, 3) for number, value in frame.each.items()}
    return [*row, each] if len(each) > 1 else row
