# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Refuses a checkpoint with weights that are no numbers, while no arm is connected yet."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import torch
from torch import nn

from ..hub.weights import WeightsError


def require_finite_weights(module: nn.Module, file: Path, fix: str) -> None:
    """Reads every weight and buffer once.

    Args:
        module: With the checkpoint's weights.
        file: Where they come from, for the error.
        fix: For the error: what the user can do.

    Raises:
        WeightsError: Some are NaN or infinite.
    """
    broken = []
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        if not tensor.is_floating_point() or tensor.is_meta:
            continue
        # The sum is finite where all are, and needs no second tensor; where it is not, it may have overflowed.
        if not bool(torch.isfinite(tensor.detach().sum())) and not bool(torch.isfinite(tensor).all()):
            broken.append(name)
    if broken:
        named = ", ".join(broken[:3]) + (", ..." if len(broken) > 3 else "")
        raise WeightsError(
            file, f"{len(broken)} of its tensors hold NaN or infinity ({named}).", fix + ".", broken
        )
