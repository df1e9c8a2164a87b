"""Video object segmentation without labels: train, propagate masks, evaluate.

    import mamp
    for name, labels in mamp.segment_video("video.mp4", "first_mask.png"):
        ...

`import mamp` is cheap: torch is imported when a name below is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

__all__ = [
    "MaskMode",
    "Segmenter",
    "UserError",
    "__version__",
    "load",
    "read_mask",
    "segment_video",
    "write_mask",
]

if TYPE_CHECKING:
    from mamp.core.errors import UserError
    from mamp.segmentation.model import load, segment_video
    from mamp.segmentation.segmenter import MaskMode, Segmenter
    from mamp.video.first_masks.reading import read_mask
    from mamp.video.masks import write_mask

_HOMES = {
    "MaskMode": "mamp.segmentation.segmenter",
    "Segmenter": "mamp.segmentation.segmenter",
    "UserError": "mamp.core.errors",
    "load": "mamp.segmentation.model",
    "read_mask": "mamp.video.first_masks.reading",
    "segment_video": "mamp.segmentation.model",
    "write_mask": "mamp.video.masks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mamp' has no attribute {name!r}")
    import importlib

    return vars(importlib.import_module(_HOMES[name]))[name]


def __dir__() -> list[str]:
    return sorted(__all__)
