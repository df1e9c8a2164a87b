"""Every recorded output of AFB-URR from its recorded inputs, through the package's own code."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mamp import config, methods, weights
from mamp.methods.afb_urr.bank import FeatureBank
from mamp.methods.afb_urr.config import AfbConfig
from mamp.methods.afb_urr.fitting import Tall
from mamp.methods.afb_urr.losses import segmentation_loss
from mamp.methods.afb_urr.network import rough_masks, uncertainty
from mamp.methods.afb_urr.propagator import AfbPropagator
from mamp.methods.afb_urr.published import our_name
from mamp.methods.afb_urr.task import AfbTask
from mamp.methods.stm.fitting import normalise
from mamp.ops.sizes import resize
from mamp.tools.static import unified_labels
from mamp.video.overlay import rimmed

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
Arrays = Mapping[str, np.ndarray]
FACTORS = {
    "encoder_m.conv1_m.weight": 6,
    "encoder_m.conv1_o.weight": 0.3,
    "decoder.convFM.weight": 2,
    "decoder.pred2.weight": 0.3,
    "decoder.local_pred2.weight": 4,
}


def filled(seed: str) -> dict[str, Tensor]:
    """The weights that a seed string stands for, under their published names."""
    sys.path.insert(0, str(GOLDEN))
    from weights import fill

    state = {n: torch.from_numpy(v) for n, v in fill(GOLDEN / "afb_urr_state_dict.json", seed).items()}
    return {name: value * FACTORS[name] if name in FACTORS else value for name, value in state.items()}


def converted(state: Mapping[str, Tensor]) -> weights.Weights:
    """A published checkpoint through the converter that users have."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "final.pth"
        torch.save({"epoch": 1, "model": dict(state), "optimizer": {}, "loss": 0.0, "seed": 0}, source)
        return weights.convert(source, Path(folder) / "afb.safetensors", method="afb_urr")


class Case:
    """The network, and the published preset with recorded settings."""

    def __init__(self, seed: str) -> None:
        self.found = converted(filled(seed))
        self.model = weights.load_model(self.found, self.settings([300_000, 0.1, 0.95]))

    def settings(self, values: list[float], *more: str) -> AfbConfig:
        """[budget, update rate, threshold]."""
        names = ("budget", "update_rate", "merge_above")
        budget, rate, threshold = values
        given = (int(budget), float(rate), float(threshold))
        knobs = [f"method.propagation.{n}={v!r}" for n, v in zip(names, given, strict=True)]
        overrides = ["method.preset=published", *knobs, *more]
        return config.load(None, overrides, base={"method": self.found.method}).method

    def propagator(self, values: np.ndarray, *more: str) -> AfbPropagator:
        """A fresh one."""
        settings = self.settings([float(v) for v in values], *more)
        return methods.get("afb_urr").build_propagator(self.model, settings)


def images(frames: np.ndarray) -> list[Tensor]:
    """uint8 (T, H, W, 3) -> float (3, H, W) each."""
    return [torch.from_numpy(f).movedim(-1, 0).float() / 255 for f in frames]


def one_hot(labels: np.ndarray, objects: int) -> Tensor:
    """(K, H, W) without background."""
    return torch.from_numpy(np.stack([labels == k for k in range(1, objects + 1)])).float()


def info(bank: FeatureBank) -> Tensor:
    """(sum of n, 2): frame of birth and use."""
    return torch.cat([torch.stack((c.born, c.used), dim=1) for c in bank.cells])


def run(inputs: Arrays, seed: str) -> dict[str, np.ndarray]:
    """All `out.*` arrays that these inputs allow."""
    case = Case(seed)
    out: dict[str, object] = {}
    out.update(_parts(case, inputs))
    out.update(_video(case, inputs))
    out.update(_late(case, inputs))
    out.update(_long(case, inputs))
    for objects in (3, 2):
        out.update(_bank(inputs, f"bank{objects}"))
    out.update(_training(case, inputs))
    out["out.unify_label"] = unified_labels(np.ascontiguousarray(inputs["in.unify_bgr"][..., ::-1]))
    return {
        key: value.numpy() if isinstance(value, Tensor) else np.asarray(value) for key, value in out.items()
    }


@torch.inference_mode()
def _parts(case: Case, inputs: Arrays) -> dict[str, Tensor]:
    """The network's stages: memory of frame 0, query of frame 1."""
    seen: dict[str, Tensor] = {}
    model = case.model
    parts = {
        "m": model.memory_encoder.res4,
        "q": model.query_encoder.res4,
        "fuse": model.decoder.fuse,
        "pred2": model.decoder.predict,
        "local": model.decoder.local_predict,
    }

    def hook(name: str):
        return lambda module, given, found: seen.update({name: found, f"{name}_in": given[0]})

    handles = [module.register_forward_hook(hook(name)) for name, module in parts.items()]
    propagator = case.propagator(inputs["in.video_settings"])
    frames = images(inputs["in.video_frames"][:2])
    objects = int(inputs["in.video_first_mask"].max())
    propagator.start(frames[0], one_hot(inputs["in.video_first_mask"], objects))
    propagator.step(frames[1])
    for handle in handles:
        handle.remove()
    first = propagator.bank.cells
    half = [2 * side for side in seen["pred2"].shape[-2:]]
    rough = rough_masks(resize(seen["pred2"], half), objects=objects + 1)
    return {
        "out.enc_m_r4": seen["m"][:, ::16],
        "out.enc_q_r4": seen["q"][:, ::16],
        "out.key0": torch.stack([cells.keys for cells in first]),
        "out.value0": torch.stack([cells.values[::8] for cells in first]),
        "out.match": seen["fuse_in"].flatten(2)[:, ::16],
        "out.pred2": seen["pred2"],
        "out.rough": rough.transpose(0, 1),
        "out.uncertainty": uncertainty(rough),
        "out.local_pred2": seen["local"],
        "out.score1": propagator.pending.scores[None],
        "out.info_after_segment": info(propagator.bank).unflatten(0, (objects + 1, -1)),
    }


@torch.inference_mode()
def _video(case: Case, inputs: Arrays) -> dict[str, object]:
    """The loop for DAVIS, with evictions."""
    propagator = case.propagator(inputs["in.video_settings"])
    first = inputs["in.video_first_mask"]
    labels, sizes = [first], []
    for t, frame in enumerate(images(inputs["in.video_frames"])):
        if t == 0:
            propagator.start(frame, one_hot(first, int(first.max())))
            continue
        labels.append(propagator.step(frame).argmax(0).numpy().astype(np.uint8))
        if t > 1:
            sizes.append(propagator.bank.sizes)
    return {
        "out.video_labels": np.stack(labels),
        "out.video_bank_sizes": np.array(sizes),
        "out.video_scores_last": propagator.pending.scores[None],
        "out.video_info_last": info(propagator.bank),
        "out.overlay": rimmed(inputs["in.video_frames"][3], labels[3]),
    }


@torch.inference_mode()
def _late(case: Case, inputs: Arrays) -> dict[str, object]:
    """The loop for YouTube-VOS; the published program knows all objects from the start."""
    height = int(inputs["in.late_settings"][3])
    propagator = case.propagator(inputs["in.late_settings"][:3], f"method.propagation.height={height}")
    ids = [int(i) for i in inputs["in.late_object_ids"]]
    starts = [int(t) for t in inputs["in.late_mask_frames"]]
    offset, objects = min(starts), max(ids)
    given = {}
    for labels, i, t in zip(inputs["in.late_masks"], ids, starts, strict=True):
        given[t] = one_hot(np.where(labels == i, labels, 0), objects), i
    frames = images(inputs["in.late_frames"][offset:])
    fit = Tall(tuple(inputs["in.late_frames"].shape[1:3]), height)
    rows = torch.zeros(objects + 1, *fit.inner)
    for masks, i in given.values():
        rows[i] = fit.masks(masks)[i]
    saved, sizes = {}, []
    for t, frame in enumerate(frames):
        if t == 0:
            propagator.start(frame, given[offset][0])
            result = fit.to_frame(propagator.pending.labels)
        else:
            rebuilt = propagator.pending.anew or t == 1
            result = _recording(propagator, frame)
            if not rebuilt:
                sizes.append(propagator.bank.sizes)
            if offset + t in given:
                masks, i = given[offset + t]
                propagator.correct(masks[[i - 1]], [i - 1])
                result = fit.to_frame(propagator.pending.labels)
        saved[offset + t] = result.argmax(0).numpy().astype(np.uint8)
    resized = fit.from_network(fit.frame(frames[3]))
    return {
        "out.late_frame3_resized": resized,
        "out.late_masks_resized": rows.to(torch.uint8),
        "out.late_labels": np.stack(
            [saved[int(t)] for t in inputs["in.late_saved_frames"] if int(t) in saved]
        ),
        "out.late_bank_sizes": np.array(sizes),
        "out.late_scores_last": propagator.before[None],
    }


def _recording(propagator: AfbPropagator, frame: Tensor) -> Tensor:
    """A step that leaves its scores as they are before objects that are not there yet are put down."""
    shown, propagator.shown = propagator.shown, [True] * len(propagator.shown)
    propagator.step(frame)
    propagator.shown = shown
    pending = propagator.pending
    propagator.before = pending.scores.clone()
    for k, there in enumerate(shown, start=1):
        if not there:
            pending.scores[k] = -1000
    pending.labels = pending.scores.softmax(dim=0)
    return propagator.fit.to_frame(pending.labels)


@torch.inference_mode()
def _long(case: Case, inputs: Arrays) -> dict[str, object]:
    """The loop for Long Videos, which never remembers the last frame but one."""
    propagator = case.propagator(inputs["in.long_settings"])
    first, frames = inputs["in.long_first_mask"], images(inputs["in.long_frames"])
    labels, sizes = [first], []
    for t, frame in enumerate(frames):
        if t == 0:
            propagator.start(frame, one_hot(first, int(first.max())))
            continue
        if t == len(frames) - 1:
            propagator._remember = lambda: None
        labels.append(propagator.step(frame).argmax(0).numpy().astype(np.uint8))
        if 1 < t < len(frames) - 1:
            sizes.append(propagator.bank.sizes)
    return {
        "out.long_labels": np.stack(labels),
        "out.long_bank_sizes": np.array(sizes),
        "out.long_scores_last": propagator.pending.scores[None],
    }


@torch.inference_mode()
def _bank(inputs: Arrays, name: str) -> dict[str, object]:
    """The bank alone."""
    keys, values = (torch.from_numpy(inputs[f"in.{name}_{part}"]) for part in ("keys", "values"))
    budget, rate, threshold = inputs[f"in.{name}_settings"].tolist()
    bank = FeatureBank(budget=int(budget), update_rate=rate, merge_above=threshold, whole=True)
    bank.widen(keys.shape[1])
    bank.absorb(keys[0], values[0], index=0)
    found: dict[str, list[Tensor]] = {part: [] for part in ("sizes", "keys", "values", "info", "read")}
    for t in range(1, len(keys)):
        query = torch.from_numpy(inputs[f"in.{name}_queries"][t])
        found["read"].append(bank.read(query[:, None])[:, :, 0])
        bank.absorb(keys[t], values[t], index=t)
        found["sizes"].append(torch.tensor(bank.sizes))
        found["keys"] += [cells.keys for cells in bank.cells]
        found["values"] += [cells.values for cells in bank.cells]
        found["info"].append(info(bank))
    joined = {
        "sizes": torch.stack(found["sizes"]),
        "keys": torch.cat(found["keys"], dim=1),
        "values": torch.cat(found["values"], dim=1),
        "info": torch.cat(found["info"]),
        "read": torch.stack(found["read"]),
    }
    return {f"out.{name}_{part}": value for part, value in joined.items()}


def _training(case: Case, inputs: Arrays) -> dict[str, object]:
    """One clip: the losses, and gradients of their sum."""
    task = AfbTask(config.load(None, [], base={"method": case.found.method}))
    task.model.load_state_dict(case.found.state)
    task.train()
    labels = torch.from_numpy(inputs["in.train_masks"])
    frames = torch.stack([normalise(frame, "rgb") for frame in images(inputs["in.train_frames"])])
    with torch.backends.mkldnn.flags(enabled=False):
        found = task.carry(frames, labels[0], int(labels.max()))
        ce, doubt = segmentation_loss(found, labels[1:])
        loss = ce + task.knobs.uncertainty * doubt
        loss.backward()

    def gradient(name: str) -> Tensor:
        return task.model.get_parameter(our_name(name)).grad

    return {
        "out.train_loss": torch.stack((ce, doubt, loss)).detach().double(),
        "out.grad_key": gradient("keyval_r4.Key.weight")[::16, ::64],
        "out.grad_mask_conv": gradient("encoder_m.conv1_m.weight")[::8, 0],
        "out.grad_local": gradient("decoder.local_pred2.weight"),
        "out.grad_q_res4": gradient("encoder_q.res4.5.conv3.weight")[::64, ::16, 0, 0],
    }
