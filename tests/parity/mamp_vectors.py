"""Every recorded output of MAMP from its recorded inputs, through the package's own code."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from mamp import config, methods, weights
from mamp.loading.clips import published_epoch
from mamp.methods.base import Motion
from mamp.methods.mamp.config import MampConfig
from mamp.methods.mamp.propagator import FAR_FRAMES
from mamp.methods.mamp.task import MampTask, Prepared
from mamp.ops.colour import drop_channel, rgb_to_lab
from mamp.ops.sizes import pad_to_multiple, resize
from mamp.propagation.correlation import topk_readout, topk_window, window_attention
from mamp.propagation.memory import DavisRule, YoutubeRule
from mamp.propagation.motion.raft import published_iterations
from mamp.propagation.warping import clean_flow, warp

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
Arrays = Mapping[str, np.ndarray]
CLASSES = 7  # the published program always has seven


def filled(seed: str) -> dict[str, torch.Tensor]:
    """The weights that a seed string stands for, under their published names."""
    sys.path.insert(0, str(GOLDEN))
    from weights import fill

    return {
        name: torch.from_numpy(value) for name, value in fill(GOLDEN / "mamp_state_dict.json", seed).items()
    }


def converted(state: Mapping[str, torch.Tensor]) -> weights.Weights:
    """A published checkpoint through the converter that users have."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "mamp.pt"
        torch.save({"state_dict": dict(state)}, source)
        return weights.convert(source, Path(folder) / "mamp.safetensors")


def published(found: weights.Weights, dataset: str = "", *more: str) -> MampConfig:
    """The published preset for these weights."""
    return config.load(
        None, ["method.preset=published", *more], base={"method": found.method}, dataset=dataset
    ).method


def run(inputs: Arrays, seed: str) -> dict[str, np.ndarray]:
    """All `out.*` arrays that these inputs allow."""
    torch.manual_seed(0)
    plain = filled(seed)
    scaled = dict(plain)
    if "in.weights.post_convolution.bias" in inputs:
        scaled["post_convolution.weight"] = plain["post_convolution.weight"] * 8
        scaled["post_convolution.bias"] = torch.from_numpy(inputs["in.weights.post_convolution.bias"])
    found = converted(scaled)
    out: dict[str, np.ndarray] = {}
    parts: list[tuple[str, Callable[[], dict[str, np.ndarray]]]] = [
        ("in.davis.rgb", lambda: _encoder(inputs, found)),
        ("in.step.query", lambda: _step(inputs, found)),
        ("in.davis.flow", lambda: _video(inputs, found, "davis")),
        ("in.youtube.rgb", lambda: _video(inputs, found, "youtube")),
        ("in.prop.feat", lambda: _propagation(inputs)),
        ("in.rules.annotated", lambda: _rules(inputs)),
        ("in.trainprep.rgb", lambda: _preparation(inputs)),
        ("in.train.rgb", lambda: _training(inputs, plain)),
        ("in.sampling.start_count_seed", lambda: _sampling(inputs)),
    ]
    for needed, part in parts:
        if needed in inputs:
            out.update(part())
    return out


def _frame(rgb: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rgb).movedim(-1, -3).float() / 255


def _encoder(inputs: Arrays, found: weights.Weights) -> dict[str, np.ndarray]:
    model = weights.load_model(found, published(found))
    lab = rgb_to_lab(_frame(inputs["in.davis.rgb"][0]), "opencv")
    seen: list[torch.Tensor] = []
    handle = model.layer2.register_forward_hook(lambda *args: seen.append(args[-1]))
    with torch.inference_mode():
        features = model(pad_to_multiple(lab, 4)[None])
    handle.remove()
    flow = torch.from_numpy(inputs["in.davis.flow"])
    clean = clean_flow(flow[-3:-1])
    return {
        "out.lab": lab.numpy(),
        "out.encoder.layer2_mean": seen[0].mean(dim=(2, 3)).numpy(),
        "out.encoder.feat": features.numpy(),
        "out.flow.clean": clean.numpy(),
        "out.warp.integer": warp(features, clean[:1])[:, ::8].numpy(),
        "out.warp.fractional": warp(features, 0.37 * flow[-3:-2])[:, ::8].numpy(),
    }


def _one_hot(labels: np.ndarray) -> torch.Tensor:
    """Label maps (M, H, W) -> (M, 7, h, w) as the published program stores them."""
    grid = pad_to_multiple(torch.from_numpy(labels.astype(np.int64)), 4)[:, ::4, ::4]
    return torch.nn.functional.one_hot(grid, CLASSES).movedim(-1, 1).float()


@torch.inference_mode()
def _step(inputs: Arrays, found: weights.Weights) -> dict[str, np.ndarray]:
    model = weights.load_model(found, published(found))
    query, memory = int(inputs["in.step.query"]), [int(i) for i in inputs["in.step.memory"]]

    def features(i: int) -> torch.Tensor:
        lab = rgb_to_lab(_frame(inputs["in.davis.rgb"][i]), "opencv")
        return model(pad_to_multiple(lab, 4)[None])[0]

    q, keys = features(query), torch.stack([features(i) for i in memory])
    values = _one_hot(inputs["in.davis.truth"][memory])
    pairs = [tuple(p) for p in inputs["in.davis.flow_pairs"]]
    flow = clean_flow(
        torch.from_numpy(np.stack([inputs["in.davis.flow"][pairs.index((query, i))] for i in memory]))
    )
    warped_keys, warped_values = warp(keys, flow), warp(values, flow)

    def scores(keys: torch.Tensor, values: torch.Tensor) -> np.ndarray:
        return topk_readout(q, keys, values, radius=12, top_k=36, temperature=8.0)[None].numpy()

    weights_n2, _ = topk_window(q, keys[-2:], radius=12, top_k=36, temperature=8.0)
    return {
        "out.step.scores_n1": scores(keys[-1:], values[-1:]),
        "out.step.scores_n2": scores(keys[-2:], values[-2:]),
        "out.step.weights_n2": weights_n2.T.numpy(),
        "out.step.scores_all": scores(keys, values),
        "out.step.scores_flow_n1": scores(warped_keys[:1], warped_values[:1]),
        "out.step.scores_flow_all": scores(warped_keys, warped_values),
    }


class GivenFlow(Motion):
    """Recorded flow per (query, memory); notes the iterations that RAFT would take."""

    def __init__(self, pairs: np.ndarray, flow: np.ndarray, *, far: int) -> None:
        self.far = far
        self.flows = {(int(q), int(m)): torch.from_numpy(f) for (q, m), f in zip(pairs, flow, strict=True)}
        self.iterations: list[int] = []

    def see(self, index: int, frame: torch.Tensor) -> None:
        pass

    def forget(self, index: int) -> None:
        pass

    def flow(self, query: int, memory: int) -> torch.Tensor:
        self.iterations.append(published_iterations(query - memory, far=self.far))
        return self.flows[query, memory]


def _video(inputs: Arrays, found: weights.Weights, name: str) -> dict[str, np.ndarray]:
    dataset = {"davis": "", "youtube": "youtubevos"}[name]
    far = FAR_FRAMES[name == "youtube"]
    motion = GivenFlow(inputs[f"in.{name}.flow_pairs"], inputs[f"in.{name}.flow"], far=far)
    labels, scores = _carry(inputs, found, name, dataset, motion)
    plain, _ = _carry(inputs, found, name, dataset, None)
    return {
        f"out.{name}.labels": labels,
        f"out.{name}.scores": np.stack(scores[1:]),
        f"out.{name}.raft_iters": np.array(motion.iterations),
        f"out.{name}.labels_noflow": plain,
    }


@torch.inference_mode()
def _carry(
    inputs: Arrays, found: weights.Weights, name: str, dataset: str, motion: GivenFlow | None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """A whole video through the propagator: written label maps, and the scores at stride 4 of every query."""
    method = published(found, dataset)
    model = weights.load_model(found, method)
    propagator = methods.get("mamp").build_propagator(model, method, motion=motion, device="cpu")
    kept: list[np.ndarray] = []
    read = propagator._read

    def recorded(index: int, features: torch.Tensor) -> torch.Tensor:
        scores = read(index, features)
        full = torch.zeros(CLASSES, *scores.shape[1:])
        full[0], full[torch.tensor(ids)] = scores[0], scores[1:]
        kept.append(full.numpy())
        return scores

    propagator._read = recorded
    frames = inputs[f"in.{name}.rgb"]
    masks = {0: inputs["in.davis.mask0"]} if name == "davis" else _masks(inputs)
    ids: list[int] = []
    labels = []
    for i, frame in enumerate(frames):
        probabilities = propagator.step(_frame(frame)) if i else None
        if i in masks:
            new = [k for k in np.unique(masks[i]) if k and k not in ids]
            onehot = torch.from_numpy(np.stack([masks[i] == k for k in new])).float()
            propagator.add(onehot) if i else propagator.start(_frame(frame), onehot)
            ids += [int(k) for k in new]
            probabilities = propagator.pending.probabilities
        labels.append(np.array([0, *ids], np.uint8)[probabilities.argmax(0).numpy()])
    return np.stack(labels), kept


def _masks(inputs: Arrays) -> dict[int, np.ndarray]:
    return {
        int(i): mask
        for i, mask in zip(inputs["in.youtube.annotated"], inputs["in.youtube.masks"], strict=True)
    }


def _propagation(inputs: Arrays) -> dict[str, np.ndarray]:
    features = torch.from_numpy(inputs["in.prop.feat"])
    values = _one_hot(inputs["in.prop.labels"])
    colour = torch.from_numpy(inputs["in.prop.color"])[:, :, ::4, ::4]
    flow = clean_flow(torch.from_numpy(inputs["in.prop.flow"]))
    knobs = {"radius": 12, "top_k": 36, "temperature": 8.0}
    keys = features[1:]
    recon = window_attention(
        features[:1], list(keys[:, None]), list(colour[:, None]), radius=6, temperature=8.0
    )
    return {
        "out.prop.scores": topk_readout(features[0], keys, values, **knobs)[None].numpy(),
        "out.prop.scores_flow": topk_readout(features[0], warp(keys, flow), warp(values, flow), **knobs)[
            None
        ].numpy(),
        "out.prop.recon": recon.numpy(),
    }


def _rules(inputs: Arrays) -> dict[str, np.ndarray]:
    def table(read: Callable[[int], list[int]]) -> np.ndarray:
        rows = np.full((24, 6), -1)
        for i in range(24):
            rows[i, : len(read(i))] = read(i)
        return rows

    davis = [table(lambda i, n=n: DavisRule(n).read(i, [0])) for n in (5, 4, 1, 0)]
    lists = [[int(a) for a in row if a >= 0] for row in inputs["in.rules.annotated"]]
    youtube = [table(lambda i, given=given: YoutubeRule(4).read(i, given)) for given in lists]
    return {"out.rules.davis": np.stack(davis), "out.rules.youtube": np.stack(youtube)}


def _preparation(inputs: Arrays) -> dict[str, np.ndarray]:
    rgb = torch.from_numpy(inputs["in.trainprep.rgb"]).movedim(-1, 0)
    return {"out.trainprep.lab": rgb_to_lab(resize(rgb.float(), (48, 48)) / 255, "opencv").numpy()}


def _training(inputs: Arrays, plain: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    frames = _frame(inputs["in.train.rgb"]).transpose(0, 1)  # (B, T, 3, H, W)
    found = converted(plain)
    for case, (references, dropped) in enumerate(
        zip((1, 2), inputs["in.train.dropped"], strict=True), start=1
    ):
        task = MampTask(
            config.load(None, [f"method.training.references={references}"], base={"method": found.method})
        )
        task.model.load_state_dict(found.state)
        task.train()
        # reference frames 0..r-1 and the query r
        prepared = Prepared(rgb_to_lab(frames[:, : references + 1], "opencv"), int(dropped))
        with torch.no_grad():
            recon = task.reconstruct(prepared)
        running = task.model.stem[1].running_mean, task.model.stem[1].running_var
        out[f"out.train{case}.recon"] = recon.numpy()
        if case == 2:
            out["out.train2.running"] = np.stack([r.numpy().copy() for r in running])
            out["out.train2.input"] = drop_channel(prepared.frames, prepared.dropped)[
                :, -1, :, ::4, ::4
            ].numpy()
        with torch.backends.mkldnn.flags(
            enabled=False
        ):  # oneDNN's sums move conv1's gradient by 0.4 %, plain ones by 0.02 %
            loss, _ = task(prepared)
            loss.backward()
        out[f"out.train{case}.loss"] = np.array(loss.item())
        norms = [parameter.grad.double().norm().item() for parameter in task.model.parameters()]
        out[f"out.train{case}.grad_norms"] = np.array(norms)
        if case == 2:
            out["out.train2.grad_conv1"] = task.model.stem[0].weight.grad.numpy()
    return out


def _sampling(inputs: Arrays) -> dict[str, np.ndarray]:
    starts, counts, seeds = inputs["in.sampling.start_count_seed"]
    out = {}
    for references in (1, 2):
        generator = np.random.RandomState(int(seeds[0]))
        clips = published_epoch(
            list(zip(starts.tolist(), counts.tolist(), strict=True)), references, generator
        )
        out[f"out.sampling.ref{references}"] = np.array(clips)
    return out
