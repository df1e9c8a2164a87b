"""A project's masks for other programs: PNGs as DAVIS lays them out, and the forms of `mamp.video.export`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from mamp.app.project import Project
from mamp.core.errors import UserError
from mamp.core.files import make_folder, write_text
from mamp.video import export as forms
from mamp.video.export.coco import annotation
from mamp.video.frames import FrameSource
from mamp.video.masks import write_mask

__all__ = ["KINDS", "annotation", "export", "exported", "sequence_name"]

OnFrame = Callable[[int, int], None]
KINDS = ("davis", *forms.KINDS)


def export(
    kind: str, project: Project, source: FrameSource, *, progress: OnFrame = lambda done, total: None
) -> Path:
    """Write the project's masks as `kind` into FOLDER/export; where they are.

    kind: one of KINDS. source: the video's frames. progress: called with (frames done, of how many).
    Raises UserError for another kind, a project without masks, and what cannot be written.
    """
    if kind not in KINDS:
        raise UserError(f"export {kind} is not known; use one of {', '.join(KINDS)}")
    if not any(frame.kind for frame in project.frames()):
        raise UserError("no frame has a mask yet; draw one first")
    folder = project.folder / "export"
    make_folder(folder)
    return _davis(project, folder, progress) if kind == "davis" else _form(kind, project, source, progress)


def sequence_name(project: Project) -> str:
    """What the video is called in an export."""
    name = project.video.stem if project.video.is_file() else project.video.name
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".") or "video"


def exported(kind: str, project: Project) -> Path:
    """Where an export of this kind is: a file or a folder."""
    folder, name = project.folder / "export", sequence_name(project)
    if kind == "davis":
        return folder / "davis"
    if kind in ("film", "coco"):
        return folder / f"{name}{next(iter(forms.KINDS[kind].makers))}"
    return forms.wishes([kind], folder / name)[0].path


def _davis(project: Project, folder: Path, progress: OnFrame) -> Path:
    """davis/Annotations/480p/NAME/FRAME.png, every frame one, and the lists that name the sequence."""
    name, root = sequence_name(project), folder / "davis"
    masks = root / "Annotations" / "480p" / name
    make_folder(masks)
    for index, frame in enumerate(project.names):
        write_mask(masks / f"{frame}.png", project.mask(index))
        progress(index + 1, len(project.names))
    lists = root / "ImageSets" / "2017"
    make_folder(lists)
    write_text(lists / "val.txt", f"{name}\n")
    return root


def _form(kind: str, project: Project, source: FrameSource, progress: OnFrame) -> Path:
    """One of `mamp.video.export`."""
    objects = {o.id: o.name for o in project.objects}
    clip = dataclasses.replace(forms.Clip.of(source, objects=objects), name=sequence_name(project))
    wish = forms.Wish(kind, exported(kind, project))
    with forms.open_saver(wish, clip) as saver:
        for index, frame in source.stream():
            saver.write(forms.Shot(index, project.names[index], project.mask(index), frame))
            progress(index + 1, len(project.names))
    return wish.path
