# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Which weight matrices hold the maps of several heads, so that Muon can treat each head's map by itself."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn


def head_grids(tower: nn.Module) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """The attention matrices, each with its rows and columns of blocks: one map to or from each head.

    Args:
        tower: A tower or any part of one; its attention modules have ``heads``.
    """
    for module in tower.modules():
        heads = getattr(module, "heads", 0)
        if not heads:
            continue
        grids = {
            "to_q": (heads, 1),
            "to_k": (heads, 1),
            "to_v": (heads, 1),
            "to_kv": (2 * heads, 1),
            "to_out": (1, heads),
        }
        for name, grid in grids.items():
            layer = getattr(module, name, None)
            if isinstance(layer, nn.ModuleList):  # diffusers adds a dropout
                layer = layer[0]
            if isinstance(layer, nn.Linear):
                yield layer.weight, grid
