"""A segmenter that needs no training."""

from segmenters import calls, make_segmenter

__all__ = ["calls", "make_segmenter"]
