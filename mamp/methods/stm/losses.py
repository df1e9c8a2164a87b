"""What a prediction costs: bootstrapped cross entropy and IoU, as STM-Cycle's program computes them."""

from __future__ import annotations

import torch
from torch import Tensor


def segmentation_loss(
    probabilities: Tensor,
    target: Tensor,
    *,
    reference: Tensor | None = None,
    kind: str = "both",
    hardest: float = 0.4,
) -> tuple[Tensor, Tensor]:
    """(cross entropy, IoU loss), scalars; the one that `kind` (both, ce, iou) leaves out is 0.

    probabilities: (K+1, H, W), background first. target: one-hot (K+1, H, W), pixels without a label 0 in all
    of it.
    reference: one-hot (K+1, H, W); channels that are empty there do not count.
    """
    valid = None if reference is None else reference.flatten(1).sum(1) > 0  # (K+1,)
    zero = probabilities.new_zeros(())
    ce = zero if kind == "iou" else bootstrapped(probabilities, target, valid=valid, hardest=hardest)
    iou = (
        zero
        if kind == "ce"
        else iou_loss(probabilities[1:], target[1:], valid=None if valid is None else valid[1:])
    )
    return ce, iou


def bootstrapped(probabilities: Tensor, target: Tensor, *, valid: Tensor | None, hardest: float) -> Tensor:
    """Mean cross entropy of the worst `hardest` of the pixels; pixels without a label count as 0."""
    logs = torch.where(target > 0, probabilities, 1).log()  # 0 times a log of 0 would be no number
    cost = -logs * target  # (K+1, H, W)
    if valid is not None:
        cost = cost * valid[:, None, None]
    flat = cost.sum(0).flatten()
    return flat.topk(max(1, int(hardest * flat.numel())), sorted=False).values.mean()


def iou_loss(probabilities: Tensor, target: Tensor, *, valid: Tensor | None) -> Tensor:
    """Mean over objects of 1 - sum min / sum max; (K, H, W) both. 0 when no object counts."""
    shared = torch.minimum(probabilities, target).flatten(1).sum(1)
    either = torch.maximum(probabilities, target).flatten(1).sum(1)
    cost = 1 - shared / either  # (K,); the union is never 0 after a softmax
    if valid is None:
        return cost.mean()
    return (cost * valid).sum() / valid.sum().clamp(min=1)
