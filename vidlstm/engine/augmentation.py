"""More pictures out of few: pixels moved, mirrored, recoloured and partly hidden while training.

One draw holds for all frames of a clip: an augmentation that flickers would look like movement.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_SHIFT = 2 / 32  # of the side
_TURN = 0.05  # radians
_SCALE = 0.05
_COLOUR = 0.2
_HIDDEN = 8 / 32  # side of the hidden square, of the side (DeVries & Taylor 2017)


def augment(pixels: Tensor, *, mirror: bool) -> Tensor:
    """Return clips as seen a little differently. Randomness is torch's own.

    Args:
        pixels: float `(B, T, S, S, C)`, grey levels 0..255.
        mirror: Flip half of the clips left to right.

    Returns:
        The same shape and range.
    """
    clips, frames, side, _, channels = pixels.shape
    x = pixels.permute(0, 1, 4, 2, 3).reshape(clips, frames * channels, side, side)
    x = F.grid_sample(x, _grid(clips, side, mirror, x), padding_mode="reflection", align_corners=False)
    x = x.reshape(clips, frames, channels, side, side)
    contrast = 1 + _COLOUR * _signed(clips, 1, 1, 1, 1, like=x)
    tint = 1 + _COLOUR / 2 * _signed(clips, 1, channels, 1, 1, like=x)
    middle = x.mean(dim=(1, 3, 4), keepdim=True)
    x = ((x - middle) * contrast + middle * tint).clamp(0, 255)
    return _hide(x).permute(0, 1, 3, 4, 2)


def _grid(clips: int, side: int, mirror: bool, like: Tensor) -> Tensor:
    """Draw a shift, a turn, a scale and perhaps a flip for each clip."""
    angle = _TURN * _signed(clips, like=like)
    scale = 1 + _SCALE * _signed(clips, like=like)
    flip = _signed(clips, like=like).sign() if mirror else torch.ones_like(angle)
    across, down = (2 * _SHIFT * _signed(clips, like=like) for _ in range(2))
    top = torch.stack([angle.cos() * scale * flip, -angle.sin() * scale, across], dim=1)
    bottom = torch.stack([angle.sin() * scale * flip, angle.cos() * scale, down], dim=1)
    return F.affine_grid(torch.stack([top, bottom], dim=1), [clips, 1, side, side], align_corners=False)


def _hide(x: Tensor) -> Tensor:
    """Put a grey square somewhere into each clip `(B, T, C, S, S)`."""
    side = x.shape[-1]
    half = math.ceil(_HIDDEN * side / 2)
    places = torch.arange(side, device=x.device)
    row, column = (torch.randint(side, (len(x), 1), device=x.device) for _ in range(2))
    hidden = ((places - row).abs() < half).unsqueeze(2) & ((places - column).abs() < half).unsqueeze(1)
    return x.masked_fill(hidden[:, None, None], 127.5)


def _signed(*shape: int, like: Tensor) -> Tensor:
    """Draw uniformly from -1 to 1."""
    return torch.rand(*shape, device=like.device) * 2 - 1
