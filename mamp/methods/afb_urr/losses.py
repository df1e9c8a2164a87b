"""What a prediction costs: cross entropy, and how unsure the frame is (AFB-URR, section 3.3)."""

from __future__ import annotations

from torch import Tensor

from mamp.loading.labels import UNLABELLED
from mamp.methods.afb_urr.network import own_probabilities, scores, uncertainty
from mamp.ops.losses import map_cross_entropy


def segmentation_loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(cross entropy, uncertainty), scalars, of frames in which each object has its own probability.

    logits: (B, K+1, 2, H, W), background first, as decoded. labels: (B, H, W), 0 to K, and 255 where there is
    none. Log odds are the logits' difference, where the published program takes them from probabilities cut
    at 1e-7: the same number short of the cut, and a gradient beyond it, without which training from scratch
    ends with all objects certain everywhere. The second is the mean over frames of the root mean square of
    the pixels' uncertainty.
    """
    ce = map_cross_entropy(scores(logits), labels, ignored=UNLABELLED)
    doubt = uncertainty(own_probabilities(logits).softmax(dim=1)).flatten(1)  # (B, H*W)
    labelled = (labels != UNLABELLED).sum().clamp(min=1)
    return ce / labelled, (doubt.norm(dim=1) / doubt.shape[1] ** 0.5).mean()
