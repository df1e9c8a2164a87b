"""Weights as ONNX graphs: the same masks without torch, in the lines that the documentation shows."""

import json
import os
import re
import subprocess
import sys
from collections import deque

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import mamp
from mamp import config, weights
from mamp.cli import main
from mamp.core.errors import UserError
from mamp.methods.mamp.config import MampPropagation
from mamp.methods.mamp.encoder import build_model
from mamp.methods.mamp.onnx import OTHERWISE, WITHOUT, WRITTEN
from mamp.methods.mamp.propagator import MampPropagator as build_propagator
from mamp.ops.colour import rgb_to_lab
from mamp.propagation.correlation import topk_readout
from mamp.propagation.guided import guided_filter
from mamp.video.synthetic import render_clip
from mamp.weights.onnx import write

onnx = pytest.importorskip("onnx", reason="needs onnx, of the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime, of the extra onnx")

EXACT = ["evaluate.amp=off"]  # float32, as the graphs
SMALL = {"name": "mamp", "encoder": {"width": 0.125, "features": 8}}


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model if isinstance(model, str) else model.SerializeToString(), options
    )


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """The shipped weights, written."""
    out = tmp_path_factory.mktemp("graphs") / "mamp_onnx"
    assert main(["weights", "onnx", "mamp-small", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def clip():
    """Frames of odd sides that need padding, and label maps with numbers of the user's own."""
    made = render_clip(5, frames=11, size=(41, 58), objects=2)
    return made.frames, made.labels * 7


def torch_masks(frames, masks):
    found = mamp.segment_video(frames, masks, weights="mamp-small", device="cpu", overrides=EXACT)
    return np.stack([labels for _, labels in found])


# -- the whole


def test_the_lines_of_the_documentation_carry_the_same_masks_without_torch(
    graphs, clip, repository, tmp_path
):
    frames, labels = clip
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{number:05d}.png")
    Image.fromarray(labels[0]).save(tmp_path / "first.png")
    text = (repository / "docs" / "onnx.md").read_text()
    (lines,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(lines.splitlines()) <= 34
    (tmp_path / "carry.py").write_text(lines + "\nprint(*sys.modules)\n")
    command = [sys.executable, "carry.py", str(graphs), "frames", "first.png", "out"]
    alone = {**os.environ, "PYTHONPATH": ""}
    ran = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert not {"torch", "mamp"} & set(ran.stdout.split())
    found = np.stack([np.asarray(Image.open(path)) for path in sorted((tmp_path / "out").iterdir())])
    ours = torch_masks(frames, labels[0])
    assert set(np.unique(ours)) == {0, 7, 14} and (ours[-1] != labels[0]).mean() > 0.05
    assert (
        found.shape == ours.shape and (found != ours).mean() <= 1e-4
    )  # of 26,158 pixels none was seen to differ


def test_a_corrected_mask_is_remembered_as_the_documentation_says(graphs, clip):
    frames, labels = clip[0][:8], clip[1]
    encoder, start, step = (session(str(graphs / f"{n}.onnx")) for n in ("encoder", "mask", "step"))
    first, memory, found = [], deque(maxlen=7), []
    for number, image in enumerate(frames):
        (features,) = encoder.run(None, {"image": image})
        if number in (0, 4):
            mask = labels[number].astype(np.int64) // 7
            first.append((features, *start.run(None, {"mask": mask})))
        else:
            keys, values = (np.stack(part) for part in zip(*first, *memory, strict=True))
            inputs = {"image": image, "features": features, "keys": keys, "values": values}
            remembered, mask = step.run(["labels", "mask"], inputs)
            memory.append((features, remembered))
        found.append(mask * 7)
    frames, memory = (
        frames[:8],
        None,
    )  # as long as the corrected frame is one of the last seven, it counts once
    ours = torch_masks(frames, {0: labels[0], 4: labels[4]})
    assert (np.stack(found[:8]) != ours).mean() <= 1e-4


def test_graphs_and_their_settings_are_told(graphs):
    told = json.loads((graphs / "mamp.json").read_text())
    assert told["memory"] == {"rule": "recent", "length": 7}
    assert (told["radius"], told["top_k"], told["temperature"], told["short_side"]) == (24, 5, 0.07, 360)
    assert told["licence"].startswith("CC BY-NC 4.0")
    model = onnx.load(graphs / "step.onnx")
    inside = {entry.key: entry.value for entry in model.metadata_props}
    assert inside == {key: told[key] for key in ("method", "weights", "licence")}
    assert model.opset_import[0].version == 18
    assert sorted(path.name for path in graphs.iterdir()) == [
        "encoder.onnx", "mamp.json", "mask.onnx", "step.onnx",
    ]  # fmt: skip


# -- what differs with the settings


SETTINGS = [
    [],
    ["search=exact", "edge_fit=exact"],
    ["radius=9", "search_near=0", "search_blocks=3", "top_k=9", "tile=4", "sharpen=1.5"],
    ["short_side=30", "subsample=2", "pad=16", "tile=12", "radius=3"],
    ["short_side=40", "enlarge=1", "pad=2", "radius=1", "top_k=40", "edge_radius=0", "sharpen=2"],
    ["search=exact", "background=0.8"],
    ["labels=hard", "outside=zero", "upsample=published", "views=full", "short_side=null"],
]


@pytest.mark.parametrize("settings", SETTINGS, ids=" ".join)
@pytest.mark.parametrize("size", [(53, 70), (34, 25)], ids=str)
def test_encoder_mask_and_step_agree_with_the_propagator(settings, size):
    overrides = [f"method.propagation.{setting}" for setting in settings]
    method = config.load(None, overrides, base={"method": SMALL}).method
    torch.manual_seed(0)
    network = build_model(method).eval()
    from mamp.methods.mamp.onnx import export

    made = export(network, method, metadata={}).graphs
    encoder, mask, step = (session(made[name]) for name in ("encoder", "mask", "step"))
    clip = render_clip(3, frames=3, size=size, objects=2)
    labels = clip.labels[0].copy()
    labels[labels == 2] = 0
    labels[1, 1] = 2  # on no cell's centre
    given = torch.from_numpy(np.stack([labels == k for k in (1, 2)])).float()
    frames = [torch.from_numpy(frame).permute(2, 0, 1) / 255 for frame in clip.frames]
    ours = build_propagator(network, method)
    with torch.inference_mode():
        ours.start(frames[0], given)
        ours.step(frames[1])
        probabilities = ours.step(frames[2]).numpy()
        ours.step(frames[2])  # what was pending is in memory now
    first, second, third = (ours.memory[i] for i in range(3))
    near = {"atol": 2e-4, "rtol": 1e-3}
    for number, entry in enumerate((first, second, third)):
        (features,) = encoder.run(None, {"image": clip.frames[number]})
        np.testing.assert_allclose(features, entry.features, **near)
    np.testing.assert_array_equal(mask.run(None, {"mask": labels.astype(np.int64)})[0], first.labels)
    keys, values = (
        torch.stack([getattr(m, part) for m in (first, second)]).numpy() for part in ("features", "labels")
    )
    inputs = {
        "image": clip.frames[2],
        "features": third.features.numpy(),
        "keys": keys,
        "values": values,
    }
    remembered, winner, found = step.run(["labels", "mask", "probabilities"], inputs)
    np.testing.assert_allclose(found, probabilities, **near)
    assert (winner != probabilities.argmax(0)).mean() < 1e-3
    if method.propagation.labels == "soft":
        np.testing.assert_allclose(remembered, third.labels, **near)
    else:
        assert (remembered != third.labels.numpy()).mean() < 0.01


def test_a_mask_without_objects_is_all_background(graphs):
    (labels,) = session(str(graphs / "mask.onnx")).run(None, {"mask": np.zeros((20, 30), np.int64)})
    assert labels.shape[0] == 1 and (labels == 1).all()


# -- operators


def only(build, *inputs):
    """What the graph of one operator gives for arrays."""
    from mamp.methods.mamp.onnx.graph import Graph

    g = Graph("one")
    values = [
        g.input(f"x{i}", str(x.dtype), [f"side{i}{n}" for n in range(x.ndim)]) for i, x in enumerate(inputs)
    ]
    result = build(g, *values)
    g.output("y", result, [f"out{n}" for n in range(3)])
    feed = {f"x{i}": x for i, x in enumerate(inputs)}
    return torch.from_numpy(session(g.model(about="", metadata={})).run(None, feed)[0])


@pytest.mark.parametrize("memories", [1, 3])
@pytest.mark.parametrize("outside", ["zero", "masked"])
@pytest.mark.parametrize(("radius", "top_k", "tile"), [(2, 4, 4), (1, 30, 5), (9, 7, 8)])
def test_the_readout_is_that_of_torch(memories, outside, radius, top_k, tile):
    from mamp.methods.mamp.onnx.readout import topk_readout as readout

    torch.manual_seed(radius)
    query, keys = torch.randn(6, 11, 13), torch.randn(memories, 6, 11, 13)
    values = torch.rand(memories, 3, 11, 13)
    knobs = {"radius": radius, "top_k": top_k, "temperature": 0.5, "outside": outside, "tile": tile}
    found = only(lambda g, *x: readout(g, *x, **knobs), query.numpy(), keys.numpy(), values.numpy())
    torch.testing.assert_close(found, topk_readout(query, keys, values, **knobs), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [(20, 31), (57, 40), (40, 60)])
def test_a_resize_is_that_of_torch(size):
    from mamp.methods.mamp.onnx.parts import resized

    torch.manual_seed(0)
    x = torch.rand(3, 40, 60)
    found = only(lambda g, x: resized(g, x, g.constant(size), antialias=True), x.numpy())
    expected = F.interpolate(x[None], size, mode="bilinear", antialias=True)[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_lab_is_that_of_torch():
    from mamp.methods.mamp.onnx import parts

    steps = torch.linspace(0, 1, 6)
    x = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij")).flatten(2)
    torch.testing.assert_close(only(parts.rgb_to_lab, x.numpy()), rgb_to_lab(x), atol=1e-5, rtol=0)


def test_the_guided_filter_is_that_of_torch():
    from mamp.methods.mamp.onnx.guided import guided_filter as guided

    torch.manual_seed(0)
    image, maps = torch.rand(3, 19, 23), torch.rand(2, 19, 23)
    found = only(lambda g, *x: guided(g, *x, radius=g.constant(4), eps=1e-3), image.numpy(), maps.numpy())
    torch.testing.assert_close(found, guided_filter(image, maps, radius=4, eps=1e-3), atol=1e-4, rtol=0)


# -- what is refused, and what is left behind


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["method.propagation.memory=budget"],
            "memory=budget cannot be exported; set method.propagation.memory=recent",
        ),
        (["method.motion.source=coarse"], "source=coarse has no ONNX form; set method.motion.source=none"),
    ],
)
def test_what_has_no_onnx_form_is_one_sentence(tmp_path, capsys, overrides, message):
    assert main(["weights", "onnx", "mamp-small", str(tmp_path / "out"), *overrides]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_method_without_an_onnx_form_is_named(tmp_path):
    stm = config.load(None, ["method.name=stm"]).method
    with pytest.raises(UserError, match="method stm has no ONNX form; use one of mamp"):
        write(tmp_path / "out", torch.nn.Identity(), stm, weights={})
    assert not (tmp_path / "out").exists()


def test_without_the_package_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["weights", "onnx", "mamp-small", str(tmp_path / "out")]) == 2
    assert 'pip install "mamp[onnx]"' in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    assert main(["weights", "onnx", "mamp-small", str(tmp_path / "out")]) == 2
    assert "out is a file where a folder should be" in capsys.readouterr().err


def test_a_writing_that_is_cut_off_leaves_no_file_that_says_all_is_there(tmp_path, monkeypatch):
    from mamp.weights import onnx as writing

    out = tmp_path / "out"
    torch.manual_seed(0)
    method = config.load(None, base={"method": SMALL}).method
    weights.save(tmp_path / "w.safetensors", build_model(method).state_dict(), method=SMALL, provenance={})
    command = ["weights", "onnx", str(tmp_path / "w.safetensors"), str(out)]
    assert main(command) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    whole = writing.whole

    def full(path):
        if path.name == "step.onnx":
            raise KeyboardInterrupt
        return whole(path)

    monkeypatch.setattr(writing, "whole", full)
    assert main(command) == 130
    del before["mamp.json"]
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_every_setting_of_the_propagation_is_written_refused_or_of_no_effect():
    """A new setting must be put into one of the three, or exported graphs would leave it out in silence."""
    assert set(MampPropagation.model_fields) == {*WRITTEN, *OTHERWISE, *WITHOUT}
