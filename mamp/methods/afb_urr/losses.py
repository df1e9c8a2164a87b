"""What a prediction costs: cross entropy, and how unsure the frame is (AFB-URR, section 3.3)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mamp.data.labels import UNLABELLED
from mamp.methods.afb_urr.network import scores, uncertainty


def segmentation_loss(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(cross entropy, uncertainty), scalars, of frames in which each object has its own probability.

    probabilities: (B, K+1, H, W), background first, in [0, 1], before they compete. labels: (B, H, W), 0 to K, and 255 where
    there is none. The second is the mean over frames of the root mean square of the pixels' uncertainty.
    """
    ce = F.cross_entropy(scores(probabilities), labels.long(), ignore_index=UNLABELLED, reduction="sum")
    doubt = uncertainty(probabilities.softmax(dim=1)).flatten(1)  # (B, H*W)
    labelled = (labels != UNLABELLED).sum().clamp(min=1)
    return ce / labelled, (doubt.norm(dim=1) / doubt.shape[1] ** 0.5).mean()
