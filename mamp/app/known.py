"""What is known of frames and objects, and how project.json says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

LARGEST_ID = 254  # of a palette PNG


@dataclass(frozen=True)
class Frame:
    """What is known of one frame.

    kind: where its mask comes from; "" has none. locked: nothing changes the mask. stale: it was computed
    before a drawn mask that it would have used was changed. unsure: the expected error of the worst object,
    see `mamp.app.doubt`; None where nothing was computed. each: that of each object, by id.
    """

    kind: str = ""
    locked: bool = False
    stale: bool = False
    unsure: float | None = None
    each: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Object:
    """An object that is followed: its id, which sets its colour, and the name that the user gave it."""

    id: int
    name: str


def video_in(stored: Any) -> tuple[tuple[int, int], tuple[int, str, str]]:
    """(height, width), and (count, first, last) of the frames' names.

    ValueError, TypeError or KeyError where project.json does not have them.
    """
    height, width = stored["size"]
    names = stored["count"], stored["first"], stored["last"]
    if [type(v) for v in (height, width, *names)] != [int, int, int, str, str]:
        raise ValueError
    return (height, width), names


def objects_in(stored: Any) -> list[Object]:
    """Objects as project.json has them, by id.

    ValueError, TypeError or KeyError where it cannot have been written so.
    """
    objects = sorted((Object(o["id"], o["name"]) for o in stored), key=lambda o: o.id)
    if any(type(o.id) is not int or type(o.name) is not str or not 0 < o.id <= LARGEST_ID for o in objects):
        raise ValueError
    if len({o.id for o in objects}) < len(objects):
        raise ValueError
    return objects


def frames_in(stored: Any) -> dict[str, Frame]:
    """What project.json has of frames, by name.

    ValueError or TypeError where it cannot have been written so.
    """
    if type(stored) is not dict or any(type(values) is not dict for values in stored.values()):
        raise ValueError
    frames = {name: _frame_in(values) for name, values in stored.items()}
    for frame in frames.values():
        if type(frame.kind) is not str or {type(frame.locked), type(frame.stale)} != {bool}:
            raise ValueError
        unsure = [*frame.each.values(), *([] if frame.unsure is None else [frame.unsure])]
        if not all(type(value) in (int, float) and 0 <= value <= 1 for value in unsure):
            raise ValueError  # NaN too, which JSON for the page cannot have
    return frames


def _frame_in(stored: dict[str, Any]) -> Frame:
    """What project.json has of one frame; its objects' ids are words there."""
    return Frame(
        **{**stored, "each": {int(number): value for number, value in stored.get("each", {}).items()}}
    )


def without(frame: Frame, number: int) -> Frame:
    """What is known of a frame once an object is gone from it."""
    each = {i: value for i, value in frame.each.items() if i != number}
    unsure = max(each.values(), default=None) if frame.each else frame.unsure
    stale = frame.stale or (frame.kind not in ("", "drawn") and not frame.locked)
    return replace(frame, stale=stale, each=each, unsure=unsure)
