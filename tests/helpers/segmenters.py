"""A segmenter that needs no training."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from scenes import COLOUR, ColourPropagator

from mamp import methods
from mamp.segmentation.segmenter import Segmenter


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """What was asked of the propagator; registers the method `colour`."""
    monkeypatch.setitem(methods.METHODS, "colour", COLOUR)
    monkeypatch.setattr(ColourPropagator, "calls", [])
    return ColourPropagator.calls


@pytest.fixture
def make_segmenter(calls):
    """A fresh segmenter of the method `colour` at each call."""
    return lambda: Segmenter(torch.nn.Identity(), SimpleNamespace(name="colour"))
