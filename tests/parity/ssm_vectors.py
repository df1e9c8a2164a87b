"""Every recorded output of SSM-VOS from its recorded inputs, through the package's own code."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mamp import config, methods, weights
from mamp.loading.augmentation.cutouts import Move, blob, cut_moved, turn
from mamp.methods.ssm.config import SsmConfig
from mamp.methods.ssm.index import make_index
from mamp.methods.ssm.matching import similarities
from mamp.methods.ssm.network import Ssm
from mamp.methods.ssm.propagator import SsmPropagator
from mamp.methods.ssm.published import our_name
from mamp.methods.ssm.task import Prepared, SsmTask
from mamp.ops.colour import imagenet
from mamp.ops.crops import cut, find_box, fit
from mamp.ops.sizes import resize
from mamp.tools.merge import merge_folders, merge_scores
from mamp.video.masks import read_mask, write_mask

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
Arrays = Mapping[str, np.ndarray]
FIRST = {1: 0, 3: 2}  # object -> its first frame


def filled(seed: str, matching: str) -> dict[str, Tensor]:
    """The weights that a seed string stands for, under their published names."""
    sys.path.insert(0, str(GOLDEN))
    from weights import fill

    state = {n: torch.from_numpy(v) for n, v in fill(GOLDEN / "ssm_state_dict.json", seed).items()}
    state["encoder.conv1.weight"][:, 3] *= 6
    for part in ("group", "global"):
        for kind in ("weight", "bias"):
            state[f"pixel_corr.self_structure.{part}_conv.0.{kind}"] *= 3e-5
    state["classifier.weight"] *= 0.3
    if matching == "conv":
        for n, channels in ((1, 1024), (2, 512), (3, 256)):
            state[f"RM{n}.conv.weight"][:, channels : channels + 64] *= 1e-3
    return state


class Case:
    """The recorded inputs, and the network of one kind of matching."""

    def __init__(self, inputs: Arrays, seed: str, matching: str) -> None:
        self.inputs = inputs
        height, width, margin = inputs["in.settings"].tolist()
        self.size = int(height), int(width)
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "1.pt"
            torch.save({"model_dict": filled(seed, matching), "global_step": 1}, source)
            self.found = weights.convert(source, Path(folder) / "ssm.safetensors", method="ssm")
        settings = ["method.preset=published", f"method.network.matching={matching}"]
        settings += [
            f"method.propagation.input_size={list(self.size)}",
            f"method.propagation.margin={margin}",
        ]
        self.method: SsmConfig = config.load(None, settings, base={"method": self.found.method}).method
        self.model = weights.load_model(self.found, self.method)
        assert isinstance(self.model, Ssm)
        self.frames = [torch.from_numpy(f).movedim(-1, 0).float() / 255 for f in inputs["in.frames"]]
        self.margins = [margin] * 4

    def mask(self, frame: int, object_id: int) -> Tensor:
        """Truth, bool (H, W)."""
        return torch.from_numpy(self.inputs["in.masks"][frame] == object_id)

    def cut(self, frame: int, mask: Tensor) -> tuple[Tensor, Tensor]:
        """A frame around a mask, as batches of one."""
        image, own = cut(self.frames[frame], mask, find_box(mask, self.margins), self.size)
        return image[None], own[None]


def run(inputs: Arrays, seed: str) -> dict[str, np.ndarray]:
    """All `out.*` arrays that these inputs allow."""
    conv = Case(inputs, seed, "conv")
    out = _single(conv)
    out.update(_cosine(Case(inputs, seed, "cosine")))
    out.update(_carried(conv))
    out.update(_files(inputs))
    out.update(_augmented(conv))
    out.update(_training(conv))
    return {key: v.detach().numpy() if isinstance(v, Tensor) else np.asarray(v) for key, v in out.items()}


def _heard(module: torch.nn.Module, into: list[Tensor]) -> None:
    module.register_forward_hook(lambda *args: into.append(args[-1]))


@torch.inference_mode()
def _single(case: Case) -> dict[str, object]:
    """Object 1 from frame 0 to frame 1."""
    truth = case.mask(0, 1)
    model = case.model
    stem, context, coarse = [], [], []
    _heard(model.encoder.bn1, stem)
    _heard(model.context, context)
    _heard(model.refine1, coarse)
    (reference_image, reference_mask), (image, previous) = case.cut(0, truth), case.cut(1, truth)
    reference = model.refer(reference_image, reference_mask)
    seen = model.look(image, previous)
    logits, _ = model(reference, seen, case.size)
    maps, told = model.compare(reference, seen)
    shown = torch.cat((image, previous, reference_mask), dim=1)[0, :, ::4, ::4]
    return {
        "out.crop_box": np.array(find_box(truth, case.margins), np.int32),
        "out.net_inputs": shown,
        "out.enc_ref_x4": reference.cells[:, ::32],
        "out.enc_cur_x5": seen.deepest[:, ::64],
        "out.enc_cur_x4": seen.cells[:, ::32],
        "out.enc_cur_x3": seen.eighth[:, ::32, ::2, ::2],
        "out.enc_cur_x2": seen.quarter[:, ::32, ::4, ::4],
        "out.enc_cur_x1": stem[1].relu()[:, ::16, ::8, ::8],
        "out.gcb": context[0][:, ::4],
        "out.rm1": coarse[0][:, ::16],
        "out.corr_conv": _corr(case, reference.cells, seen.cells),
        "out.pixel_conv": maps[:, 0:64:4],
        "out.struct_fusion": maps[:, 64::4],
        "out.struct_logits": told,
        "out.logits_conv": logits[:, :, ::4, ::4],
    }


def _corr(case: Case, reference: Tensor, current: Tensor) -> Tensor:
    shape = tuple(current.shape[-2:])
    affinity = similarities(reference, current, matching=case.method.network.matching)
    return affinity.unflatten(2, shape).unflatten(1, shape)[0, ::3, ::3, ::2, ::2]


@torch.inference_mode()
def _cosine(case: Case) -> dict[str, object]:
    truth = case.mask(0, 1)
    reference, seen = case.model.refer(*case.cut(0, truth)), case.model.look(*case.cut(1, truth))
    logits, _ = case.model(reference, seen, case.size)
    maps, _ = case.model.compare(reference, seen)
    return {
        "out.corr_cosine": _corr(case, reference.cells, seen.cells),
        "out.pixel_cosine": maps[:, 0:64:4],
        "out.logits_cosine": logits[:, :, ::4, ::4],
    }


def _grey(scores: Tensor) -> np.ndarray:
    """Probabilities as the published program writes them."""
    return (255 * scores).numpy().astype(np.uint8)


def _carried(case: Case) -> dict[str, object]:
    """Both objects through the video at once, the second one from its own first frame on."""
    from mamp.methods.ssm import propagator as module

    propagator: SsmPropagator = methods.get("ssm").build_propagator(case.model, case.method)
    boxes: dict[int, list[tuple[int, ...]]] = {1: [], 3: []}
    greys: dict[int, list[np.ndarray]] = {1: [], 3: []}
    scores: list[Tensor] = []
    merge = module.merge
    module.merge = lambda s, *, how: merge(scores.append(s) or s, how=how)
    soft, hard = [], []
    ids: list[int] = []
    try:
        for t, frame in enumerate(case.frames):
            masks = {i: case.mask(t, i) for i in FIRST}
            if t:
                for i, mask in zip(ids, propagator.pending.masks, strict=True):
                    boxes[i].append(propagator._boxes(mask[None])[0])
                propagator.step(frame)
                for i, s in zip(ids, scores[-1], strict=True):
                    greys[i].append(_grey(s))
            for i in [i for i, first in FIRST.items() if first == t]:
                given = masks[i][None].float()
                propagator.add(given) if ids else propagator.start(frame, given)
                ids.append(i)
                boxes[i].append(propagator._boxes(masks[i][None])[0])
                greys[i].append(np.where(masks[i].numpy(), 255, 0).astype(np.uint8))
            now = np.stack([greys[i][-1] for i in ids])
            soft.append(merge_scores(now, ids, how="soft"))
            hard.append(merge_scores(now, ids, how="hard"))
    finally:
        module.merge = merge
    return {
        "out.eval_boxes": np.array([*boxes[1], *boxes[3]], np.int32),
        "out.eval_masks_1": np.stack(greys[1]),
        "out.eval_masks_3": np.stack(greys[3]),
        "out.merged_soft": np.stack(soft),
        "out.merged_hard": np.stack(hard),
    }


def _files(inputs: Arrays) -> dict[str, object]:
    """What is made of folders: merged masks, and the index of a small YouTube-VOS."""
    ids = [int(i) for i in inputs["in.merge_ids"]]
    out: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for row, i in enumerate(ids):
            (folder / "masks" / "v" / str(i)).mkdir(parents=True)
            for t in (0, 1):
                if (i, t) != (2, 0):  # not there in the recording
                    grey = Image.fromarray(inputs["in.merge_masks"][row, t])
                    grey.save(folder / "masks" / "v" / str(i) / f"{t:05d}.png")
        for how in ("soft", "hard"):
            merge_folders(folder / "masks", folder / how, how=how, quiet=True)
            found = [read_mask(folder / how / "v" / f"{t:05d}.png") for t in (0, 1)]
            out[f"out.merge_only_{how}"] = np.stack(found)
        out["out.index"] = _index(inputs, folder / "youtube")
    return out


def _index(inputs: Arrays, root: Path) -> np.ndarray:
    base = root / "valid"
    for kind in ("JPEGImages", "Annotations"):
        (base / kind / "v").mkdir(parents=True)
    frames = [f"{5 * t:05d}" for t in range(len(inputs["in.frames"]))]
    for t, name in enumerate(frames):
        Image.fromarray(inputs["in.frames"][t]).save(base / "JPEGImages" / "v" / f"{name}.jpg")
    for first in FIRST.values():
        write_mask(base / "Annotations" / "v" / f"{frames[first]}.png", inputs["in.masks"][first])
    objects = {str(i): {"category": "ant", "frames": frames[first:]} for i, first in FIRST.items()}
    (base / "meta.json").write_text(json.dumps({"videos": {"v": {"objects": objects}}}))
    rows = [
        (
            r.object_index,
            r.frame_index,
            r.num_frames,
            int(Path(r.image_path).stem),
            int(Path(r.mask_path).stem),
        )
        for r in make_index("youtubevos", root, "val")
    ]
    return np.array(rows, np.int64)


def _augmented(case: Case) -> dict[str, object]:
    flip, degrees, left, right, top, bottom, height, width = case.inputs["in.aug_settings"].tolist()
    move, size = Move(bool(flip), degrees, (left, right, top, bottom)), (int(height), int(width))
    frame = case.frames[1].flip(-1) if flip else case.frames[1]
    before = case.mask(0, 1).float()
    masks = torch.stack((case.mask(1, 1).float(), before))
    image, (mask, previous), box = cut_moved(case.frames[1], masks, before, move=move, size=size)
    return {
        "out.aug_rotated": _pixels(turn(frame, degrees)),
        "out.aug_image": _pixels(image),
        "out.aug_mask": mask.to(torch.uint8),
        "out.aug_prev": previous.to(torch.uint8),
        "out.aug_box": np.array(box, np.int32),
        "out.blur": blob(previous, torch.from_numpy(case.inputs["in.blur_draws"])),
    }


def _pixels(image: Tensor) -> Tensor:
    return (255 * image).round().to(torch.uint8).movedim(0, -1)


def _training(case: Case) -> dict[str, object]:
    """One step of two samples, without dropout: losses, gradients, running statistics."""
    settings = ["method.training.dropout=0", f"data.size={int(case.inputs['in.train_size'][0])}"]
    task = SsmTask(config.load(None, settings, base={"method": case.found.method}))
    task.model.load_state_dict(case.found.state)
    task.train()
    size = task.size
    samples: list[tuple[Tensor, ...]] = []
    for reference, now, i in case.inputs["in.train_items"].tolist():
        before = max(now - 1, FIRST[i])
        images = [imagenet(fit(case.frames[t], size)) for t in (reference, now)]
        masks = [
            (resize(case.mask(t, i)[None].float(), size) > 0.5).float() for t in (reference, before, now)
        ]
        samples.append((images[0], masks[0], images[1], masks[1], masks[2][0].long()))
    prepared = Prepared(*(torch.stack(x) for x in zip(*samples, strict=True)))
    loss, scalars = task(prepared)
    loss.backward()

    def gradient(name: str) -> Tensor:
        found = task.model.get_parameter(our_name(name)).grad
        assert found is not None
        return found

    norm = task.model.encoder.layer3[0].bn1
    return {
        "out.train_loss": np.array([float(scalars[n]) for n in ("mask", "structure", "loss")]),
        "out.grad_stem": gradient("encoder.conv1.weight")[::4, :, ::2, ::2],
        "out.grad_group": gradient("pixel_corr.self_structure.group_conv.0.weight")[::16, ::2, 0, 0],
        "out.grad_gcb": gradient("GCB.branch2.1.weight")[::16, ::16],
        "out.grad_classifier": gradient("classifier.weight")[:, ::8],
        "out.bn_running": torch.stack((norm.running_mean, norm.running_var)),
    }
