# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What no mixed precision rounds: units, statistics and rotary angles (`Tables`), and timesteps (`exact`).

FSDP's ``MixedPrecision(buffer_dtype=...)`` and ``module.to(torch.bfloat16)`` cast every buffer. In bfloat16 a joint's range in
degrees is off by half a degree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Tables(nn.Module):
    """A module with tables that keep their dtype. They are no buffers, but move with the module and lie in its state."""

    _kept: dict[str, bool]

    def keep(self, persistent: bool = True, **tables: Tensor) -> None:
        """Adds tables as attributes; those that are not persistent lie in no checkpoint."""
        self.__dict__.setdefault("_kept", {}).update(dict.fromkeys(tables, persistent))
        for name, table in tables.items():
            setattr(self, name, table)

    def tables(self) -> Iterator[tuple[str, Tensor]]:
        """Names and tables, those that lie in checkpoints."""
        return ((name, getattr(self, name)) for name, persistent in self._kept.items() if persistent)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        for name in self._kept:
            table = getattr(self, name)
            device = fn(table).device
            if device.type != "meta":  # to be filled from a checkpoint; a table is known already
                setattr(self, name, table.to(device))
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination.update({prefix + name: table for name, table in self.tables()})

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        *more: Any,
    ) -> None:
        own = {prefix + name: table for name, table in self.tables()}
        for key, table in own.items():
            if key in state_dict:
                with torch.no_grad():
                    table.copy_(state_dict[key])
            elif strict:
                missing_keys.append(key)
        rest = {key: value for key, value in state_dict.items() if key not in own}
        super()._load_from_state_dict(rest, prefix, local_metadata, strict, missing_keys, *more)


class ExactLinear(nn.Linear):
    """Computes in float32 under every autocast, and where FSDP hands it weights in bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            bias = None if self.bias is None else self.bias.float()
            return F.linear(x.float(), self.weight.float(), bias)


def exact(module: nn.Module) -> nn.Module:
    """Makes the matrices of a module compute in float32; nothing else about it changes."""
    for part in module.modules():
        if type(part) is nn.Linear:
            part.__class__ = ExactLinear
    return module
