"""Finished masks in the forms that people take away: cut-outs, films, pictures, annotation files, tables.

Each form is a `Saver`, which takes one frame at a time. `KINDS` names them all; `mamp segment --save`, `mamp
export` and the page of `mamp app` use the same ones.
"""

from mamp.video.export.base import Clip, Saver, Shot
from mamp.video.export.kinds import KINDS, Wish, open_saver, wishes

__all__ = ["KINDS", "Clip", "Saver", "Shot", "Wish", "open_saver", "wishes"]
