# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Which tokens show the scene: borders that we add or that were recorded never enter the video loss (paper p. 9).

A token is valid if no pixel of its patch lies in a border (our choice: a patch that is part border would teach the
border's edge). Borders change the loss alone; attention sees every token.

Shapes: B batch, V views, F frames, (H, W) pixels, (h, w) token grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Brightness in [0, 1] up to which a pixel is black. Our choice: black of limited-range video, which codecs blur little.
BLACK = 16 / 255


@dataclass(frozen=True)
class Box:
    """Where a resized picture lies in the model's frame, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def covered(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """The frame's (top, bottom, left, right) in heights and widths of the picture; (0, 1, 0, 1) if it is full."""
        top, left = -self.top / self.height, -self.left / self.width
        return top, top + size[0] / self.height, left, left + size[1] / self.width


def letterbox(picture: tuple[int, int], size: tuple[int, int]) -> Box:
    """The largest centred box of a picture's proportions in a frame.

    Args:
        picture: (height, width) as recorded.
        size: (height, width) of the frame.
    """
    scale = min(size[0] / picture[0], size[1] / picture[1])
    height, width = (max(1, round(scale * side)) for side in picture)
    return Box((size[0] - height) // 2, (size[1] - width) // 2, height, width)


def inside_box(box: Box, size: tuple[int, int]) -> Tensor:
    """Pixels ``(H, W)`` of a frame that the box covers."""
    inside = torch.zeros(size, dtype=torch.bool)
    inside[box.top : box.top + box.height, box.left : box.left + box.width] = True
    return inside


def without_black_borders(frames_BVF3HW: Tensor, frame_valid_BF: Tensor) -> Tensor:
    """Pixels within the rows and columns at the picture's edges that stay black all along.

    Args:
        frames_BVF3HW: The keyframe and all future frames of the window, in [-1, 1].
        frame_valid_BF: False for frames beyond the event's end, which say nothing.

    Returns:
        ``(B, V, H, W)``, False in a border.
    """
    bright = frames_BVF3HW.amax(3) > 2 * BLACK - 1  # (B, V, F, H, W)
    bright = (bright & frame_valid_BF[:, None, :, None, None]).any(2)
    return _between(bright.any(3))[..., :, None] & _between(bright.any(2))[..., None, :]


def _between(lit: Tensor) -> Tensor:
    """True from the first to the last True of the last axis."""
    counted = lit.long()
    return (counted.cumsum(-1) > 0) & (counted.flip(-1).cumsum(-1).flip(-1) > 0)


def valid_tokens(inside_BVHW: Tensor, grid: tuple[int, int]) -> Tensor:
    """Tokens ``(B, V, h, w)`` all of whose pixels lie inside."""
    rows, columns = grid
    return inside_BVHW.unflatten(-1, (columns, -1)).unflatten(-3, (rows, -1)).all(-1).all(-2)
