"""A project's masks for other programs: PNGs as DAVIS lays them out, and the forms of `mamp.video.export`."""

from __future__ import annotations

import dataclasses
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from mamp.app.project import Project
from mamp.core.errors import UserError
from mamp.core.files import make_folder, whole, write_json, write_text
from mamp.video import export as forms
from mamp.video.export.coco import annotation
from mamp.video.frames import FrameSource
from mamp.video.masks import write_mask

__all__ = ["KINDS", "annotation", "export", "exported", "sequence_name"]

OnFrame = Callable[[int, int], None]
KINDS = ("davis", "objects", *forms.KINDS)


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
    if kind in ("davis", "objects"):
        return (_davis if kind == "davis" else _objects)(project, folder, progress)
    return _form(kind, project, source, progress)


def sequence_name(project: Project) -> str:
    """What the video is called in an export."""
    name = project.video.stem if project.video.is_file() else project.video.name
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".") or "video"


def exported(kind: str, project: Project) -> Path:
    """Where an export of this kind is: a file or a folder."""
    folder, name = project.folder / "export", sequence_name(project)
    if kind in ("davis", "objects"):
        return folder / kind
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


def _objects(project: Project, folder: Path, progress: OnFrame) -> Path:
    """objects/NAME/FRAME.png for each object by its name, white on black, and objects.json with the ids."""
    root, names = folder / "objects", file_names(project)
    if root.exists():
        shutil.rmtree(root)  # of objects that had other names
    for name in names.values():
        make_folder(root / name)
    write_json(root / "objects.json", {name: number for number, name in names.items()})
    for index, frame in enumerate(project.names):
        labels = project.mask(index)
        for number, name in names.items():
            with whole(root / name / f"{frame}.png") as partial:
                Image.fromarray(labels == number).save(partial, "PNG")
        progress(index + 1, len(project.names))
    return root


def file_names(project: Project) -> dict[int, str]:
    """Object id -> its name as a folder's; objects of one name have their ids behind it."""
    names = {o.id: "".join(c if c.isalnum() or c in "-_" else "-" for c in o.name) for o in project.objects}
    lower = [name.lower() for name in names.values()]
    return {i: name if lower.count(name.lower()) == 1 else f"{name}-{i}" for i, name in names.items()}


def zipped(folder: Path, file: Path) -> None:
    """Write a folder into a zip file, without compression, which PNG has done already."""
    with zipfile.ZipFile(file, "w") as out:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            out.write(path, str(Path(folder.name) / path.relative_to(folder)))


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
