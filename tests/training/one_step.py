"""One step of MAMP's task on fixed clips, alone or as one of several ranks."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from mamp import config
from mamp.methods.mamp.task import MampTask
from mamp.methods.task import Batch
from mamp.training import distributed
from mamp.training.trainer import Trainer

CLIPS = 4


class Calm(MampTask):
    """Batch norm as it is when masks are carried."""

    def train(self, mode=True):
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


def step(ranks, settings, *, calm, keep=slice(None)):
    """Loss, dropped channel, prepared frames and gradient by name of one step; of the clips at `keep`
    alone.
    """
    torch.manual_seed(0)
    trainer = Trainer((Calm if calm else MampTask)(settings), settings, ranks, steps=1, provenance={})
    frames = torch.randint(0, 256, (CLIPS, 2, 3, 48, 48), generator=torch.Generator().manual_seed(1))
    size = len(frames[keep]) // ranks.count
    first = (keep.start or 0) + ranks.rank * size
    batch = Batch(frames[first : first + size].to(torch.uint8), None, ({},) * size, first=first, total=CLIPS)
    names = {id(parameter): name for name, parameter in trainer.task.named_parameters()}
    gradient = {}
    trainer.optimizer.register_step_pre_hook(
        lambda *_: gradient.update({names[id(p)]: p.grad.clone() for p in trainer.parameters})
    )
    seen = []
    trainer.task.register_forward_hook(lambda task, inputs, output: seen.append((inputs[0], output[0])))
    trainer.learn(batch)
    trainer.settle()
    prepared = seen[-1][0]  # of the last part
    return {
        "loss": trainer.unlogged[-1]["loss"],
        "own": sum(loss.item() for _, loss in seen) / len(seen),
        "dropped": prepared.dropped,
        "frames": prepared.frames,
        "gradient": gradient,
    }


def main(out, calm, *overrides):
    """What `step` gives goes to OUT/RANK.pt."""
    settings = config.load(None, overrides)
    with distributed.join("cpu", timeout=60) as ranks:
        torch.save(step(ranks, settings, calm=calm == "calm"), Path(out) / f"{ranks.rank}.pt")
