"""RGB to what networks see: the normalised Lab of MAMP's, or RGB normalised as for ImageNet."""

from __future__ import annotations

import torch
from torch import Tensor

from mamp.core.errors import UserError
from mamp.ops.constants import once

CHROMA = (1, 2)  # Lab's channels a and b
MEAN, SCALE = (50.0, 0.0, 0.0), (50.0, 127.0, 127.0)
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and deviation


def imagenet(rgb: Tensor) -> Tensor:
    """RGB (..., 3, H, W) in [0, 1] as networks trained on ImageNet see it."""
    mean, deviation = channels(rgb.device, *_IMAGENET)
    return (rgb - mean) / deviation


@once
def channels(device: torch.device, *values: tuple[float, ...]) -> tuple[Tensor, ...]:
    """Each of the values for three channels as (3, 1, 1), float32."""
    return tuple(torch.tensor(v, device=device, dtype=torch.float32).view(3, 1, 1) for v in values)


def rgb_to_lab(rgb: Tensor, table: str = "exact") -> Tensor:
    """Normalised Lab of RGB images: (Lab - [50, 0, 0]) / [50, 127, 127].

    rgb: float (..., 3, H, W) in [0, 1], sRGB. table: "exact" computes the D65 formula on the device (kornia);
    "opencv" takes OpenCV's interpolated table on the CPU, which the published weights saw (differs by up to
    0.004).
    Returns float32, same shape: L in [-1, 1], a and b about [-1, 1].
    Raises UserError when "opencv" is asked for and OpenCV is absent.
    """
    lab = _opencv_lab(rgb) if table == "opencv" else _exact_lab(rgb)
    mean, scale = channels(lab.device, MEAN, SCALE)
    return (lab - mean) / scale


def _exact_lab(rgb: Tensor) -> Tensor:
    from kornia.color import rgb_to_lab as kornia_lab

    flat = rgb.float().reshape(-1, *rgb.shape[-3:])
    return kornia_lab(flat).reshape(rgb.shape)


def _opencv_lab(rgb: Tensor) -> Tensor:
    try:
        import cv2
    except ImportError:
        raise UserError(
            "method.encoder.lab=opencv needs OpenCV; pip install opencv-python-headless, or set"
            " method.encoder.lab=exact"
        ) from None
    import numpy as np

    flat = rgb.detach().float().reshape(-1, *rgb.shape[-3:]).cpu()
    labs = [
        cv2.cvtColor(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), cv2.COLOR_RGB2Lab)
        for image in flat
    ]
    return torch.from_numpy(np.stack(labs)).permute(0, 3, 1, 2).reshape(rgb.shape).to(rgb.device)


def drop_channel(lab: Tensor, channel: int) -> Tensor:
    """Return MAMP's training input: normalised Lab (..., 3, H, W), one chroma channel 0, times 3/2 (A5.2)."""
    keep = torch.ones(3, 1, 1, device=lab.device)
    keep[channel] = 0
    return lab * keep * 1.5
