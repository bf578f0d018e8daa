# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Rotary position codes on interleaved pairs, as Wan's.

Shapes: d the width of one attention head; tables broadcast against tokens ``(..., tokens, heads, d)``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Rope(NamedTuple):
    """Tables for `rotate`.

    Attributes:
        cos: ``(..., d)``, each value twice.
        sin: Likewise, the first of each pair negated: once, here, instead of half of every query and key.
        turn: Both as complex numbers ``(..., d / 2)``. None in a compiled graph, which fuses real arithmetic only, and
            on devices other than CPU and CUDA.
    """

    cos: Tensor
    sin: Tensor
    turn: Tensor | None


def rope_tables(cos: Tensor, sin: Tensor) -> Rope:
    """Tables from cosines and sines of which every value stands twice, ``(..., d)``."""
    sign = torch.tensor([-1.0, 1.0], dtype=sin.dtype, device=sin.device)
    turn = None
    if not torch.compiler.is_compiling() and cos.device.type in ("cpu", "cuda"):
        turn = torch.complex(cos[..., ::2].float(), sin[..., ::2].float())
    return Rope(cos, (sin.unflatten(-1, (-1, 2)) * sign).flatten(-2), turn)


def rotate(x: Tensor, rope: Rope) -> Tensor:
    """Turns each pair of ``x`` by its angle; keeps the dtype of ``x``."""
    if rope.turn is None or x.dtype != torch.float32:
        return rotate_real(x, rope)
    # One pass over memory, on CPU six times as fast forward and backward as the real arithmetic.
    pairs = torch.view_as_complex(x.contiguous().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rope.turn).flatten(-2)


def rotate_real(x: Tensor, rope: Rope) -> Tensor:
    """`rotate` in real arithmetic: the plain reference, and the form for half precision and compiled graphs."""
    swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return torch.addcmul(x * rope.cos, swapped, rope.sin).type_as(x)


def rotate_both(q: Tensor, k: Tensor, rope: Rope | None) -> tuple[Tensor, Tensor]:
    """Queries and keys of the same tokens, in one call; as they are without tables."""
    if rope is None:
        return q, k
    q, k = rotate(torch.stack((q, k)), rope).unbind(0)
    return q, k
