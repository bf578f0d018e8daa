# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Rotary position codes on interleaved pairs, as Wan's.

Shapes: d the width of one attention head; tables broadcast against tokens ``(..., tokens, heads, d)``.
"""

from __future__ import annotations

import torch
from torch import Tensor

Rope = tuple[Tensor, Tensor]


def rope_tables(cos: Tensor, sin: Tensor) -> Rope:
    """Tables for `rotate` from cosines and sines of which every value stands twice, ``(..., d)``.

    The first of each pair's sines is negated once, here, instead of half of every query and key.
    """
    sign = torch.tensor([-1.0, 1.0], dtype=sin.dtype, device=sin.device)
    return cos, (sin.unflatten(-1, (-1, 2)) * sign).flatten(-2)


def rotate(x: Tensor, rope: Rope) -> Tensor:
    """Turns each pair of ``x`` by its angle; keeps the dtype of ``x``."""
    cos, sin = rope
    swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return torch.addcmul(x * cos, swapped, sin).type_as(x)


def rotate_both(q: Tensor, k: Tensor, rope: Rope | None) -> tuple[Tensor, Tensor]:
    """Queries and keys of the same tokens, in one call; as they are without tables."""
    if rope is None:
        return q, k
    q, k = rotate(torch.stack((q, k)), rope).unbind(0)
    return q, k
