"""Many objects: the masks of the dense way, and a sentence where memory does not hold them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from mamp.core.errors import UserError
from mamp.segmentation import limits, segmenter
from mamp.segmentation.model import choose, load

SIZE = (48, 80)
METHODS = {
    "mamp": ("method.propagation.short_side=48",),
    "mamp, label maps": ("method.propagation.short_side=48", "method.propagation.labels=hard"),
    "mamp, published": ("method.preset=published",),
    "mamp, every pixel": ("method.propagation.short_side=48", "method.propagation.edge_fit=exact"),
}


def video(objects: int, frames: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Discs of a colour each that drift, on a grid; (frame, label map)."""
    across = int(np.ceil(np.sqrt(objects)))
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    cell = (y * across // SIZE[0]) * across + x * across // SIZE[1] + 1
    inside = ((y * across / SIZE[0]) % 1 - 0.5) ** 2 + ((x * across / SIZE[1]) % 1 - 0.5) ** 2 < 0.16
    labels = np.where(inside & (cell <= objects), cell, 0).astype(np.uint8)
    colours = np.random.default_rng(0).integers(0, 256, (objects + 1, 3), dtype=np.uint8)
    moved = [np.roll(labels, (t, t), (0, 1)) for t in range(frames)]
    return [(colours[label], label) for label in moved]


def masks(model, *, late: bool) -> list[np.ndarray]:
    """A first mask of some objects; a correction, new ones, one that goes."""
    seg, found = model.segmenter(), []
    for t, (frame, labels) in enumerate(video(9, 5)):
        given = {0: np.where(labels > 6, 0, labels), 2: np.where(np.isin(labels, (2, 7, 8)), labels, 0)}
        found.append(seg.step(frame, given.get(t) if late else labels if t == 0 else None))
        if late and t == 3 and model.config.method.propagation.labels == "soft":
            seg.remove([3])
    return found


@pytest.mark.parametrize("preset", ["dino", "crw", "vfs"])
def test_probed_encoders_give_the_same_masks_too(monkeypatch, preset):
    overrides = ["method.name=probe", f"method.preset={preset}"]
    model = choose(None, "untrained", overrides=overrides, device="cpu")
    plain = masks(model, late=True)
    monkeypatch.setattr(segmenter, "DENSE_BYTES", 0)
    for few, many in zip(plain, masks(model, late=True), strict=True):
        assert (few != many).mean() < 1e-3  # label maps differ after an object was removed


@pytest.mark.parametrize("late", [False, True], ids=["at first", "late, corrected and removed"])
@pytest.mark.parametrize("name", METHODS)
def test_masks_do_not_depend_on_whether_probabilities_are_made(monkeypatch, name, late):
    model = load(overrides=METHODS[name], device="cpu")
    plain = masks(model, late=late)
    monkeypatch.setattr(segmenter, "DENSE_BYTES", 0)
    for few, many in zip(plain, masks(model, late=late), strict=True):
        assert few.dtype == many.dtype
        np.testing.assert_array_equal(few, many)


def test_probabilities_of_few_objects_are_there_and_of_many_are_not(monkeypatch):
    model = load(overrides=METHODS["mamp"], device="cpu")
    frames = video(4, 2)
    for least, there in ((10**9, True), (0, False)):
        monkeypatch.setattr(segmenter, "DENSE_BYTES", least)
        seg = model.segmenter()
        seg.step(*frames[0])
        seg.step(frames[1][0])
        assert (seg.probabilities is not None) == there


def test_what_does_not_fit_is_refused_with_what_would_and_nothing_has_changed(monkeypatch):
    seg = load(device="cpu").segmenter()
    frame, labels = video(60, 1)[0]
    monkeypatch.setattr(limits, "free_bytes", lambda: 45 * 10**6)
    with pytest.raises(UserError, match=r"60 objects on frames of 80x48 need about .* GB") as error:
        seg.step(frame, labels)
    assert "give " in str(error.value) and "\n" not in str(error.value)
    assert seg.ids == []
    monkeypatch.undo()
    assert seg.step(frame, labels).max() == 60


@pytest.mark.parametrize("name", ["mamp", "probe", "stm", "afb_urr", "ssm", "flow"])
def test_every_method_refuses_a_million_objects(monkeypatch, name):
    propagator = _propagator(name)
    monkeypatch.setattr(limits, "free_bytes", lambda: 10**9)
    with pytest.raises(UserError, match="1,000,000 objects on frames of 854x480 need about"):
        limits.refuse_too_many(propagator[0], propagator[1], 10**6, (480, 854), device=propagator[0].device)


def _propagator(name: str):
    overrides = [f"method.name={name}"]
    model = (
        load(overrides=overrides)
        if name in ("mamp", "flow")
        else choose(None, "untrained", overrides=overrides)
    )
    seg = model.segmenter()
    return seg._build(), model.config.method


def test_a_short_side_that_is_proposed_fits(monkeypatch):
    propagator, method = _propagator("mamp")
    monkeypatch.setattr(limits, "free_bytes", lambda: 10**9)
    with pytest.raises(UserError, match="short_side=") as error:
        limits.refuse_too_many(propagator, method, 1500, (480, 854), device=propagator.device)
    side = int(str(error.value).rsplit("=", 1)[1])
    smaller = load(overrides=[f"method.propagation.short_side={side}"]).segmenter()._build()
    limits.refuse_too_many(smaller, method, 1500, (480, 854), device=propagator.device)


MEASURE = """
import resource, sys
import numpy as np
from mamp.segmentation.model import load
height, width, objects, *overrides = sys.argv[1:]
size, objects = (int(height), int(width)), int(objects)
seg = load(overrides=overrides, device="cpu").segmenter()
across = int(np.ceil(objects**0.5))
y, x = np.mgrid[: size[0], : size[1]]
labels = (y * across // size[0]) * across + x * across // size[1] + 1
labels = np.where(labels <= objects, labels, 0).astype(np.uint16)
needed = seg._build().bytes_needed(size, objects)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for t in range(3):
    frame = np.random.default_rng(t).integers(0, 255, (*size, 3), dtype=np.uint8)
    seg.step(frame, labels if t == 0 else None)
print(needed, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is Linux's")
@pytest.mark.parametrize(
    "case",
    [
        ("240", "426", "2"),
        ("240", "426", "60"),
        ("180", "320", "400", "method.preset=fast"),
        ("240", "426", "5", "method.preset=published"),
        ("120", "214", "200", "method.propagation.edge_fit=exact"),
    ],
    ids=" ".join,
)
def test_the_estimate_is_not_below_half_of_what_is_measured(case):
    done = subprocess.run([sys.executable, "-c", MEASURE, *case], capture_output=True, text=True, check=True)
    needed, measured = map(int, done.stdout.split())
    assert needed > measured / 2
