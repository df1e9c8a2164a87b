"""Every recorded output of STM, STM-Cycle and gradient correction from its recorded inputs, through the
package's own code.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mamp import config, methods, weights
from mamp.methods.stm import propagator as propagators
from mamp.methods.stm.config import StmConfig
from mamp.methods.stm.correction import corrected
from mamp.methods.stm.fitting import Letterbox, normalise
from mamp.methods.stm.network import aggregate
from mamp.methods.stm.propagator import StmPropagator
from mamp.methods.stm.published import our_name
from mamp.methods.stm.task import Prepared, StmTask
from mamp.propagation.readout import memory_read
from mamp.video.overlay import heatmap, tint

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
Arrays = Mapping[str, np.ndarray]
GRADIENTS = (
    "Encoder_M.conv1_bg.weight",
    "Encoder_M.bn1.weight",
    "Encoder_Q.res4.0.conv1.weight",
    "KV_M_r4.Key.weight",
    "KV_Q_r4.Value.weight",
    "Decoder.RF2.convFS.weight",
    "Decoder.pred2.weight",
)


def filled(inputs: Arrays, seed: str, arch: str) -> dict[str, Tensor]:
    """The weights that a seed string stands for, under their published names."""
    sys.path.insert(0, str(GOLDEN))
    from weights import fill

    spec = json.loads((GOLDEN / "stm_state_dict.json").read_text())[arch]
    state = {name: torch.from_numpy(value) for name, value in fill(spec, seed).items()}
    for name in state:
        if name.endswith(("conv1_m.weight", "conv1_bg.weight", "conv1_o.weight")):
            state[name] = state[name] * 4
        elif name.endswith("Decoder.pred2.bias"):
            state[name] = torch.from_numpy(inputs[f"in.{arch}_pred2_bias"])
    return state


def converted(state: Mapping[str, Tensor]) -> weights.Weights:
    """A published checkpoint through the converter that users have."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "stm.pth.tar"
        torch.save({"epoch": 1, "state_dict": dict(state), "max_skip": [5, 3]}, source)
        return weights.convert(source, Path(folder) / "stm.safetensors", method="stm")


class Case:
    """The recorded inputs, and the network of one architecture."""

    def __init__(self, inputs: Arrays, seed: str, arch: str) -> None:
        self.inputs = inputs
        self.found = converted(filled(inputs, seed, arch))
        self.preset = "original" if arch == "original" else "published"
        self.method = self.settings("propagation.correction_loops=0")
        self.model = weights.load_model(self.found, self.method)
        self.frames = [torch.from_numpy(f).movedim(-1, 0).float() / 255 for f in inputs["in.frames"]]
        self.size = tuple(inputs["in.label0"].shape)

    def settings(self, *more: str) -> StmConfig:
        """The published preset with the recorded sizes and rates."""
        box = [int(n) for n in self.inputs["in.input_size"]]
        rate, loops = float(self.inputs["in.correction_rate"]), int(self.inputs["in.loop"])
        knobs = [
            f"input_size={box}",
            f"every={int(self.inputs['in.save_freq'])}",
            f"correction_rate={rate!r}",
        ]
        knobs += [f"correction_loops={loops}"] if self.preset == "published" else []
        overrides = [f"method.preset={self.preset}", *(f"method.propagation.{k}" for k in knobs)]
        overrides += [f"method.{k}" for k in more]
        return config.load(None, overrides, base={"method": self.found.method}).method

    def propagator(self, *more: str) -> StmPropagator:
        """A fresh one."""
        return methods.get("stm").build_propagator(self.model, self.settings(*more))

    def masks(self, labels: np.ndarray, objects: int) -> Tensor:
        """(K, H, W) one-hot without background."""
        return torch.from_numpy(np.stack([labels == k for k in range(1, objects + 1)])).float()


def padded(labels: Tensor, channels: int, value: float = 0.0) -> Tensor:
    """(K+1, ...) with empty channels behind."""
    return torch.cat((labels, labels.new_full((channels - len(labels), *labels.shape[1:]), value)))


def run(inputs: Arrays, seed: str) -> dict[str, np.ndarray]:
    """All `out.*` arrays that these inputs allow."""
    small = Case(inputs, seed, "resnet18")
    out = _parts(small, "r18")
    out.update(_parts(Case(inputs, seed, "resnet50"), "r50"))
    out.update(_training(small))
    out.update(_test(small))
    out.update(_corrected(small))
    out.update(_late(small))
    out.update(_demo(small))
    out.update(_original(Case(inputs, seed, "original")))
    return {
        key: value.numpy() if isinstance(value, Tensor) else np.asarray(value) for key, value in out.items()
    }


@torch.inference_mode()
def _parts(case: Case, name: str) -> dict[str, Tensor]:
    """The network's stages, memory of frame 0 and query of frame 1."""
    fit = Letterbox(case.size, tuple(int(n) for n in case.inputs["in.input_size"]))
    frames = [normalise(fit.frame(frame), "rgb")[None] for frame in case.frames[:2]]
    masks = fit.masks(case.masks(case.inputs["in.label0"], 2))
    owner = torch.zeros(2, dtype=torch.int64)
    seen: list[Tensor] = []
    handle = case.model.memory_encoder.res4.register_forward_hook(lambda *args: seen.append(args[-1]))
    keys, values = case.model.memorise(frames[0], masks[1:], owner)
    handle.remove()
    query = case.model.look(frames[1])
    read = memory_read(query.key[owner], [keys], [values])
    logits = case.model.decode(query, read, owner)
    key = keys.transpose(1, 2)
    decoded = {f"out.{name}_key": key, f"out.{name}_dec": _probabilities(logits)}
    if name == "r50":
        return decoded
    channels = int(case.inputs["in.max_obj"]) + 1
    least = float(np.log(1e-7 / (1 - 1e-7)))
    return {
        **decoded,
        "out.norm_frame": frames[0][0],
        "out.mask0": padded(masks, channels).to(torch.uint8),
        "out.r18_mem_r4": seen[0][:, ::4],
        "out.r18_value": values.transpose(1, 2)[..., ::4],
        "out.r18_q_key": query.key,
        "out.r18_read": read[:, ::4],
        "out.r18_logit": padded(aggregate(logits), channels, least)[:, ::2, ::2],
    }


def _probabilities(logits: Tensor) -> Tensor:
    return logits[:, :, ::2, ::2]


def _training(case: Case) -> dict[str, Tensor]:
    """Two clips: losses, their sum, its gradients."""
    settings = config.load(None, ["method.training.cycle=1"], base={"method": case.found.method})
    task = StmTask(settings)
    task.model.load_state_dict(case.found.state)
    task.train()
    fit = Letterbox(case.size, tuple(int(n) for n in case.inputs["in.input_size"]))
    labels = case.inputs["in.train_labels"]
    frames = torch.stack([normalise(fit.frame(frame), "rgb") for frame in case.frames[:6]]).unflatten(
        0, (2, 3)
    )
    targets = [
        torch.stack([fit.masks(case.masks(labels[b, t], objects)) for t in range(3)])
        for b, objects in enumerate((2, 3))
    ]
    prepared = Prepared(frames, targets)
    with torch.no_grad():
        carried = task.carry(prepared)
    segmentation, cycle = torch.full((2, 2, 2), torch.nan), torch.full((2, 2, 2), torch.nan)
    for t, b, ce, iou in carried.forward:
        segmentation[b, t - 1] = torch.stack((ce, iou))
    for t, b, ce, iou in carried.backward:
        cycle[b, 2 - t] = torch.stack((ce, iou))
    with torch.backends.mkldnn.flags(enabled=False):
        total, _ = task(prepared)
        total.backward()
    gradients = {name: task.model.get_parameter(our_name(name)).grad for name in GRADIENTS}
    channels = int(case.inputs["in.max_obj"]) + 1
    probabilities = [
        padded(carried.probabilities[t][b], channels)[:, ::2, ::2] for b in (0, 1) for t in (0, 1)
    ]
    return {
        "out.train_seg_loss": segmentation,
        "out.train_cycle_loss": cycle,
        "out.train_total": total.detach(),
        "out.train_prob": torch.stack(probabilities),
        "out.train_grad_norm": torch.stack([gradient.norm() for gradient in gradients.values()]),
        "out.train_grad_bg": gradients["Encoder_M.conv1_bg.weight"][::4],
    }


def _carry(
    case: Case, propagator: StmPropagator, given: Mapping[int, Tensor]
) -> tuple[list[Tensor], np.ndarray, list[Tensor]]:
    """A whole video as the published program runs it: probabilities on the inner grid, written labels, masks
    remembered.
    """
    inner: list[Tensor] = []
    read = propagator._read
    propagator._read = lambda pending: _kept(inner, read(pending))
    written, remembered = [], []
    for t, frame in enumerate(case.frames):
        if t == 0:
            propagator.start(frame, given[0])
            result = propagator.fit.to_frame(propagator.pending.labels)
            inner.append(propagator.pending.labels)
        else:
            result = propagator.step(frame)
            if t in given:
                propagator.correct(given[t], list(range(len(given[t]))))
        written.append(result.argmax(0).numpy().astype(np.uint8))
        remembered.append(propagator.pending.labels)
    return inner, np.stack(written), remembered


def _kept(into: list[Tensor], logits: Tensor) -> Tensor:
    into.append(logits.softmax(0))
    return logits


def _test(case: Case) -> dict[str, object]:
    masks = case.masks(case.inputs["in.label0"], 2)
    inner, written, _ = _carry(case, case.propagator("propagation.correction_loops=0"), {0: masks})
    chosen = torch.stack([inner[t][:3, ::2, ::2] for t in (1, 4, 7)])
    return {"out.test_prob": chosen, "out.test_labels": written}


def _corrected(case: Case) -> dict[str, object]:
    """The run with gradient correction, and pictures of its first corrected frame."""
    channels, every = int(case.inputs["in.max_obj"]) + 1, int(case.inputs["in.save_freq"])
    told: list[tuple[Tensor, Tensor]] = []

    def recorded(*args: object, **kwargs: object) -> Tensor:
        return corrected(*args, **kwargs, report=lambda loss, gradient: told.append((loss, gradient)))

    propagators.corrected = recorded
    try:
        propagator = case.propagator()
        masks = case.masks(case.inputs["in.label0"], 2)
        inner, written, remembered = _carry(case, propagator, {0: masks})
    finally:
        propagators.corrected = corrected
    loops = int(case.inputs["in.loop"])
    again = case.propagator()
    again.start(case.frames[0], masks)
    for frame in case.frames[1 : every + 1]:
        again.step(frame)
    fit = again.fit
    written_probabilities = fit.to_frame(inner[every]).numpy()
    bgr = slice(None, None, -1)
    frame = case.inputs["in.frames"][every]
    # the field on the grid of the box, as it is recorded
    again.fit.to_frame = lambda labels: labels
    field = again.receptive_field()
    return {
        "out.gc_grad": padded(told[0][1], channels)[:, ::2, ::2],
        "out.gc_loss": torch.stack([loss for loss, _ in told]).unflatten(0, (-1, loops)),
        "out.gc_corrected": padded(remembered[every], channels)[:, ::2, ::2],
        "out.gc_labels": written,
        "out.heatmap": heatmap(frame, written_probabilities[1:])[..., bgr].copy(),
        "out.overlay": tint(frame, written[every])[..., bgr].copy(),
        "out.erf": field[:, ::2, ::2],
    }


def _late(case: Case) -> dict[str, object]:
    """An object that comes later; the published program knows of it from the start."""
    late = int(case.inputs["in.late_index"])
    given = {0: case.masks(case.inputs["in.label0"], 3), late: case.masks(case.inputs["in.label_late"], 3)}
    inner, written, _ = _carry(case, case.propagator(), given)
    chosen = torch.stack([padded(inner[t], 5)[:, ::2, ::2] for t in (late, late + 1)])
    return {"out.yt_prob": chosen, "out.yt_labels": written}


def _demo(case: Case) -> dict[str, object]:
    """The demo's maps: corrected masks written, cut wrongly out of the box."""
    propagator = case.propagator("propagation.correction_written=true")
    _, _, remembered = _carry(case, propagator, {0: case.masks(case.inputs["in.label0"], 2)})
    left, _, top, _ = propagator.fit.margins
    maps = [case.inputs["in.label0"]]
    for labels in remembered[1:]:
        full = F.interpolate(labels[None, :, top:, left:], case.size, mode="nearest")[0]
        maps.append(full.argmax(0).numpy().astype(np.uint8))
    return {"out.demo_labels": np.stack(maps)}


def _original(case: Case) -> dict[str, object]:
    """The ICCV 2019 program."""
    propagator = case.propagator()
    logits: list[Tensor] = []
    read = propagator._read
    propagator._read = lambda pending: _recorded(logits, read(pending))
    given = {0: case.masks(case.inputs["in.label0"], 2)}
    inner, written, _ = _carry(case, propagator, given)
    first = propagator.memory.kept[0]
    assert first.index == 0
    height, width = (-(-side // 16) for side in case.size)
    keys = torch.zeros(4, first.keys.shape[1], height, width)
    keys[1:3] = first.keys.unflatten(-1, (height, width))
    least = float(np.log(1e-7 / (1 - 1e-7)))
    return {
        "out.orig_key": keys,
        "out.orig_logit": padded(logits[0], 4, least)[:, ::2, ::2],
        "out.orig_prob": torch.stack([inner[t][:3, ::2, ::2] for t in (1, 4, 7)], dim=1),
        "out.orig_labels": written,
    }


def _recorded(into: list[Tensor], logits: Tensor) -> Tensor:
    into.append(logits)
    return logits
