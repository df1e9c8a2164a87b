"""One's work on a video: a folder of palette PNGs and a small JSON, saved as it goes.

FOLDER/project.json     objects, and what is known of each frame
FOLDER/drawn/NAME.png   masks that a person drew: what `mamp segment --mask` takes
FOLDER/masks/NAME.png   the mask of every frame that has one
FOLDER/before/NAME.png  what that was before its last change
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from mamp.app.known import LARGEST_ID, Frame, Object, frames_in, objects_in, video_in, without
from mamp.core.errors import UserError
from mamp.core.files import Locks, make_folder, remove_leftovers, write_text
from mamp.core.texts import read_json
from mamp.video.first_masks.reading import FirstMask, Reader
from mamp.video.frames import FrameSource
from mamp.video.masks import object_ids, read_mask, write_mask

NAME_LENGTH = 60  # of an object
VERSION = 1  # of project.json
_PART = 20  # writing project.json takes no more than one part of so many of a run


class Project:
    """The masks of one video and what is known of them. One process has it at a time; threads may share it.

    State: the frames and objects as they are in project.json, and the open lock.
    A file is whole or absent; masks are written before what is said of them, and what a killed process left
    is taken up. In a long video project.json is written less often than masks are computed: what can be lost
    is how unsure the last ones were.

    Raises UserError when another process has the folder, or it belongs to another video.
    """

    def __init__(self, folder: Path, source: FrameSource) -> None:
        make_folder(folder)
        self.folder, self.video, self.names, self.fps = folder, source.path, source.names, source.fps
        self.size: tuple[int, int] = (
            source[0].shape[0],
            source[0].shape[1],
        )  # the first frame is decoded anyway
        self.revisions = [0] * len(self.names)  # of each frame's mask since the project was opened
        self._objects: list[Object] = []
        self._frames: list[Frame] = []
        self._present: list[tuple[int, ...] | None] = [None] * len(self.names)  # ids, where they are known
        self._guard = threading.RLock()
        self._reader = Reader()  # of masks from elsewhere: a colour is one object in all of them
        self._saved = self._took = 0.0  # when project.json was written last, and the seconds it took
        self._locks = Locks(folder / ".lock")
        if not self._locks.take(0):
            self._locks.__exit__()
            raise UserError(
                f"{folder} is open in another `mamp app`; use that one, or give another folder with --out"
            )
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let another process have the folder."""
        self._locks.__exit__()

    # -- what is known

    def frame(self, index: int) -> Frame:
        """What is known of frame `index`."""
        return self._frames[index]

    def frames(self) -> list[Frame]:
        """What is known of all frames, in order."""
        with self._guard:
            return list(self._frames)

    @property
    def objects(self) -> list[Object]:
        """The objects, by id."""
        with self._guard:
            return list(self._objects)

    def drawn(self) -> list[int]:
        """The frames whose masks a person drew, ascending."""
        return [i for i, frame in enumerate(self.frames()) if frame.kind == "drawn"]

    def mask(self, index: int) -> np.ndarray:
        """The label map uint8 (H, W) of frame `index`; all background where it has none."""
        with self._guard:
            if not self._frames[index].kind:
                return np.zeros(self.size, np.uint8)
            return read_mask(self._file("masks", index), size=self.size)

    def before(self, index: int) -> np.ndarray:
        """The label map of frame `index` before its last change; all background where it had none."""
        with self._guard:
            file = self._file("before", index)
            return read_mask(file, size=self.size) if file.exists() else np.zeros(self.size, np.uint8)

    def present(self) -> list[tuple[int, ...] | None]:
        """The ids that each frame's mask shows, ascending; None where the mask was not looked at yet."""
        with self._guard:
            return list(self._present)

    def look(self, index: int) -> None:
        """Find out which ids the mask of frame `index` shows, if that is not known."""
        with self._guard:
            if self._present[index] is None:
                self._present[index] = _ids(self.mask(index)) if self._frames[index].kind else ()

    def given(self, index: int) -> np.ndarray | None:
        """The label map that a person drew for frame `index`, or None."""
        with self._guard:
            if self._frames[index].kind != "drawn":
                return None
            return read_mask(self._file("drawn", index), size=self.size)

    # -- what a person does

    def read(self, file: Path) -> FirstMask:
        """The mask in a person's file at the size of the frames; UserError when there is none."""
        return self._reader.read(file, size=self.size)

    def draw(self, index: int, labels: np.ndarray) -> None:
        """Set the mask of frame `index` to `labels`, uint8 (H, W). Frames that it would change become stale.

        Raises UserError for a locked frame, another size, and ids of no object.
        """
        with self._guard:
            self._refuse_locked(index)
            if labels.shape != self.size or labels.dtype != np.uint8:
                raise UserError(f"the mask is {labels.dtype} {labels.shape}; give uint8 {self.size}")
            strangers = set(_ids(labels)) - {o.id for o in self._objects}
            if strangers:
                raise UserError(f"the mask has id {min(strangers)}, which is no object; add the object first")
            self._set_aside(index)
            write_mask(self._file("drawn", index), labels)
            write_mask(self._file("masks", index), labels)
            self._frames[index] = Frame("drawn")
            self._present[index] = _ids(labels)
            self.revisions[index] += 1
            self._outdate(index)
            self._save()

    def forget(self, index: int) -> None:
        """The drawn mask of frame `index` guides other frames no more; it stays until it is computed anew."""
        with self._guard:
            self._refuse_locked(index)
            if self._frames[index].kind == "drawn":
                self._file("drawn", index).unlink(missing_ok=True)
                self._frames[index] = Frame("forward", stale=True)
                self._outdate(index)
                self._save()

    def bring(self, index: int, labels: np.ndarray) -> None:
        """Draw a mask from elsewhere, as `draw`; objects that it has and the project lacks are added.

        Raises UserError for a locked frame, another size, and ids above 254.
        """
        with self._guard:
            self._refuse_locked(index)
            ids = set(object_ids(labels)) - {o.id for o in self._objects}
            if not labels.any():
                raise UserError("the mask has no object")
            if ids and max(ids) > LARGEST_ID:
                raise UserError(f"the mask has object {max(ids)}; a project has objects 1 to {LARGEST_ID}")
            before = self._objects
            added = [Object(i, f"object {i}") for i in sorted(ids)]
            self._objects = sorted([*before, *added], key=lambda o: o.id)
            try:
                self.draw(index, labels.astype(np.uint8))
            except UserError:
                self._objects = before
                raise

    def lock(self, indices: Sequence[int], *, locked: bool) -> None:
        """Frames that have a mask keep it whatever is computed, or do so no more."""
        with self._guard:
            for index in indices:
                if self._frames[index].kind:
                    self._frames[index] = replace(self._frames[index], locked=locked)
            self._save()

    def add_object(self, name: str = "") -> Object:
        """A new object with the least id that is free; UserError when 254 are there."""
        with self._guard:
            taken = {o.id for o in self._objects}
            free = next((i for i in range(1, LARGEST_ID + 1) if i not in taken), None)
            if free is None:
                raise UserError(f"a project has at most {LARGEST_ID} objects; remove one first")
            made = Object(free, _name(name) or f"object {free}")
            self._objects = sorted([*self._objects, made], key=lambda o: o.id)
            self._save()
            return made

    def rename(self, number: int, name: str) -> None:
        """Call object `number` so; an empty name is refused."""
        with self._guard:
            self._known(number)
            if not _name(name):
                raise UserError("an object needs a name; type one")
            self._objects = [Object(o.id, _name(name)) if o.id == number else o for o in self._objects]
            self._save()

    def remove_object(self, number: int) -> None:
        """Take object `number` out of every mask, locked ones too: it is gone."""
        with self._guard:
            self._known(number)
            for index, frame in enumerate(self._frames):
                self._file("before", index).unlink(missing_ok=True)
                for kind in ("masks", "drawn")[: 2 if frame.kind == "drawn" else bool(frame.kind)]:
                    labels = read_mask(self._file(kind, index))
                    if (labels == number).any():
                        write_mask(self._file(kind, index), np.where(labels == number, 0, labels))
            self._objects = [o for o in self._objects if o.id != number]
            self._present = [p and tuple(i for i in p if i != number) for p in self._present]
            self.revisions = [revision + 1 for revision in self.revisions]
            self._frames = [without(f, number) for f in self._frames]
            self._save()

    # -- what the machine does

    def write(
        self, index: int, labels: np.ndarray, *, kind: str, unsure: Mapping[int, float] | None = None
    ) -> bool:
        """Keep a computed mask; return False, with nothing changed, where the frame's own is drawn or locked.

        unsure: the expected error of each object.
        """
        with self._guard:
            before = self._frames[index]
            if before.kind == "drawn" or before.locked:
                return False
            self._set_aside(index)
            write_mask(self._file("masks", index), labels)
            each = dict(unsure or {})
            self._frames[index] = Frame(kind, unsure=max(each.values(), default=None), each=each)
            self._present[index] = _ids(labels)
            self.revisions[index] += 1
            if time.monotonic() - self._saved > _PART * self._took:
                self._save()
            return True

    def save(self) -> None:
        """Write project.json now."""
        with self._guard:
            self._save()

    # -- files

    def _file(self, kind: str, index: int) -> Path:
        return self.folder / kind / f"{self.names[index]}.png"

    def _set_aside(self, index: int) -> None:
        """Keep the mask as what it was before; a mask is written anew, never changed in its file."""
        mask, before = self._file("masks", index), self._file("before", index)
        try:
            before.unlink(missing_ok=True)
            if mask.exists():
                try:
                    os.link(mask, before)
                except OSError:  # a file system without links
                    shutil.copyfile(mask, before)
        except OSError as error:
            raise UserError(f"{before} cannot be written ({error.strerror or error}); make room") from None

    def _open(self) -> None:
        for kind in ("masks", "drawn", "before"):
            make_folder(self.folder / kind)
            remove_leftovers(self.folder / kind)
        remove_leftovers(self.folder)
        self._objects, known = self._read()
        self._frames = [self._found(index, known.get(name, Frame())) for index, name in enumerate(self.names)]
        self._adopt_ids()
        self._save()

    def _read(self) -> tuple[list[Object], dict[str, Frame]]:
        """The objects, and the frames by name, in project.json; none without such a file."""
        path = self.folder / "project.json"
        if not path.exists():
            return [], {}
        try:
            stored = read_json(path)
            if stored.get("version", VERSION) > VERSION:
                raise UserError(
                    f"{path} was written by a later mamp; update mamp, or give another folder with --out"
                )
            size, names = video_in(stored)
            objects, frames = objects_in(stored["objects"]), frames_in(stored["frames"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise UserError(
                f"{path} is damaged; move it away, and the masks beside it are taken up, without objects'"
                " names and locks"
            ) from None
        if size != self.size or names != (len(self.names), self.names[0], self.names[-1]):
            raise UserError(
                f"{self.folder} is the work on another video, {stored.get('video')}; give another folder with"
                " --out"
            )
        return objects, frames

    def _found(self, index: int, kept: Frame) -> Frame:
        """What project.json has of a frame, as far as its files agree."""
        drawn, mask = self._file("drawn", index), self._file("masks", index)
        if drawn.exists():
            # the drawn file is written first: it is what a killed process was about to make the mask
            if not mask.exists() or mask.read_bytes() != drawn.read_bytes():
                labels = self._reader.read(drawn, size=self.size).labels  # a person may have put it there
                write_mask(drawn, labels)
                write_mask(mask, labels)
            return Frame("drawn", locked=kept.locked)
        if not mask.exists():
            return Frame()
        return kept if kept.kind in ("forward", "backward") else replace(kept, kind="forward")

    def _adopt_ids(self) -> None:
        """Objects for ids that are in drawn masks and in no list: of a folder whose project.json was lost."""
        if self._objects:
            return
        ids: set[int] = set()
        for index in [i for i, frame in enumerate(self._frames) if frame.kind]:
            ids |= set(np.unique(self.mask(index)).tolist())
        self._objects = [Object(i, f"object {i}") for i in sorted(ids) if 0 < i <= LARGEST_ID]

    def _save(self) -> None:
        began = time.monotonic()
        stored = {
            "version": VERSION,
            "video": str(self.video.resolve()),
            "count": len(self.names),
            "first": self.names[0],
            "last": self.names[-1],
            "size": self.size,
            "objects": [asdict(o) for o in self._objects],
            "frames": {
                self.names[i]: {
                    key: value for key, value in asdict(frame).items() if value not in (None, False, {})
                }
                for i, frame in enumerate(self._frames)
                if frame.kind
            },
        }
        write_text(self.folder / "project.json", json.dumps(stored) + "\n")
        self._saved = time.monotonic()
        self._took = self._saved - began

    def _outdate(self, index: int) -> None:
        """Computed frames that the drawn mask of frame `index` takes part in."""
        for i, frame in enumerate(self._frames):
            if not frame.locked and frame.kind == ("forward" if i > index else "backward"):
                self._frames[i] = replace(frame, stale=True)

    def _refuse_locked(self, index: int) -> None:
        if self._frames[index].locked:
            raise UserError(f"frame {self.names[index]} is locked; unlock it to change it")

    def _known(self, number: int) -> None:
        if number not in {o.id for o in self._objects}:
            raise UserError(f"there is no object {number}")


def _ids(labels: np.ndarray) -> tuple[int, ...]:
    """The ids in a label map uint8 (H, W), ascending."""
    return tuple(int(i) for i in np.flatnonzero(np.bincount(labels.reshape(-1), minlength=1)) if i)


def _name(name: str) -> str:
    """A name as it is kept: one line, no control characters, not too long."""
    return "".join(c for c in str(name) if c.isprintable()).strip()[:NAME_LENGTH]
