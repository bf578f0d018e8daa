# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Borrowed networks: used, never trained, never saved with the policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class Frozen:
    """A network that is loaded when it is first needed and then follows the tensors it is called with.

    It is no `nn.Module` on purpose: held by one, it shows neither in ``parameters()`` nor in ``state_dict()``, and
    copies of a policy (an average of its weights, say) share it.

    Args:
        load: Makes the network on the CPU in the given dtype.
        dtype: In which it runs on CUDA. Elsewhere it runs in float32: half precision is slow there or missing.
    """

    def __init__(self, load: Callable[[torch.dtype], nn.Module], dtype: torch.dtype = torch.float32):
        self._load, self._dtype = load, dtype
        self._network: nn.Module | None = None
        self._place: tuple[torch.device, torch.dtype] | None = None

    def on(self, device: torch.device | str) -> Any:
        """The network on ``device``, in evaluation mode."""
        device = torch.device(device)
        dtype = self._dtype if device.type == "cuda" else torch.float32
        if self._place != (device, dtype):
            if self._network is None or self._place is None or self._place[1] != dtype:
                self._network = self._load(dtype).eval().requires_grad_(False)  # cast twice is rounded twice
            self._network = self._network.to(device)
            self._place = (device, dtype)
        return self._network

    @property
    def is_loaded(self) -> bool:
        """Whether it takes memory now."""
        return self._network is not None

    def release(self) -> None:
        """Gives its memory back; the next use loads it again."""
        self._network = self._place = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Frozen:
        return self
