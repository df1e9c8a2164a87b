"""Batch norms folded into the convolutions before them."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm  # of nn.SyncBatchNorm too
from torch.nn.utils.fusion import fuse_conv_bn_eval

_NORMS = (nn.BatchNorm2d.forward, nn.SyncBatchNorm.forward)


def fold_batch_norms(model: nn.Module) -> nn.Module:
    """Copy `model` with each conv + batch norm pair of a Sequential as one conv; channels last.

    Subclasses that compute something else, such as timm's norms with an activation inside, stay as they are.
    """
    folded = copy.deepcopy(model).eval()
    for module in list(folded.modules()):
        if isinstance(module, nn.Sequential):
            for i in range(len(module) - 1):
                conv, norm = module[i], module[i + 1]
                if isinstance(conv, nn.Conv2d) and isinstance(norm, BatchNorm) and _plain(conv, norm):
                    module[i], module[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return folded.to(memory_format=torch.channels_last)


def _plain(conv: nn.Conv2d, norm: BatchNorm) -> bool:
    return type(conv).forward is nn.Conv2d.forward and type(norm).forward in _NORMS
