# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Units: between the dataset's actions and states, and those that the network works in.

Shapes: B batch, H horizon, A action dims, P proprioception dims.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lerobot_wallwm.hub.files.tables import Tables


class ActionSpace(Tables):
    """Affine maps with statistics kept in the checkpoint.

    Two sets: ``range_low`` and ``range_high`` undo the pipeline's min-max normalisation and follow the dataset in use;
    the rest defines the network's units and stays what it was trained with.
    """

    range_low: Tensor
    range_high: Tensor
    relative: Tensor
    offset: Tensor
    scale: Tensor
    center: Tensor
    state_mean: Tensor
    state_std: Tensor

    def __init__(self, action_dim: int, state_dim: int, relative: list[bool]):
        super().__init__()
        zeros, ones = torch.zeros(action_dim), torch.ones(action_dim)
        self.keep(range_low=-ones, range_high=ones, offset=zeros, scale=ones.clone(), center=zeros.clone())
        self.keep(relative=torch.tensor(relative, dtype=torch.float32))
        self.keep(state_mean=torch.zeros(state_dim), state_std=torch.ones(state_dim))

    def set_range(self, stats: dict[str, dict[str, Tensor]]) -> None:
        """Takes the dataset's action range, with which the pipeline normalises."""
        self.range_low.copy_(torch.as_tensor(stats["action"]["min"], dtype=torch.float32).flatten())
        self.range_high.copy_(torch.as_tensor(stats["action"]["max"], dtype=torch.float32).flatten())

    def fit(self, stats: dict[str, dict[str, Tensor]], displacement_std: Tensor | None) -> None:
        """Sets the network's units from a dataset.

        Args:
            stats: LeRobot statistics with ``action`` and ``observation.state``.
            displacement_std: ``(A,)`` spread of action minus state over the horizon; None falls back to the
                spread of the actions.
        """
        self.set_range(stats)
        action, state = stats["action"], stats["observation.state"]
        mean, std = (torch.as_tensor(action[k], dtype=torch.float32).flatten() for k in ("mean", "std"))
        self.offset.copy_(mean * (1 - self.relative))
        self.center.copy_(mean)
        spread = std if displacement_std is None else torch.where(self.relative > 0, displacement_std, std)
        # A dimension that never moved in training must not explode when it does at deployment.
        floor = 1e-2 * (self.range_high - self.range_low).abs().max().clamp_min(1e-6)
        self.scale.copy_(spread.clamp_min(float(floor)))
        state_std = torch.as_tensor(state["std"], dtype=torch.float32).flatten()
        self.state_mean.copy_(torch.as_tensor(state["mean"], dtype=torch.float32).flatten())
        self.state_std.copy_(state_std.clamp_min(1e-2 * float(state_std.max().clamp_min(1e-6))))

    def encode_state(self, state_BP: Tensor) -> Tensor:
        """Raw proprioception to network units."""
        return (state_BP - self.state_mean) / self.state_std

    def encode_actions(self, normalized_BHA: Tensor, state_BP: Tensor) -> Tensor:
        """Min-max normalised absolute actions to network units."""
        absolute = self.absolute(normalized_BHA)
        return (absolute - self._origin(state_BP) - self.offset) / self.scale

    def decode_actions(self, units_BHA: Tensor, state_BP: Tensor) -> Tensor:
        """Inverse of `encode_actions`."""
        return self.normalized(units_BHA * self.scale + self.offset + self._origin(state_BP))

    def absolute(self, normalized: Tensor) -> Tensor:
        """Min-max normalised ``(..., A)`` actions to the dataset's units."""
        return (normalized + 1) * ((self.range_high - self.range_low) / 2) + self.range_low

    def normalized(self, absolute: Tensor) -> Tensor:
        """Inverse of `absolute`."""
        half = ((self.range_high - self.range_low) / 2).clamp_min(1e-8)
        return (absolute - self.range_low) / half - 1

    def encode_goal(self, action_BA: Tensor) -> Tensor:
        """Raw absolute actions to goal units: the network's scale, but measured from the data's mean pose."""
        return (action_BA - self.center) / self.scale

    def here(self, state_BP: Tensor) -> Tensor:
        """The zero of the action sequence in goal units ``(B, A)``; a goal minus this is the way to it."""
        return ((self._origin(state_BP) + self.offset - self.center) / self.scale)[:, 0]

    def hold_pose(self, state_BP: Tensor) -> Tensor:
        """Network units ``(B, 1, A)`` of staying put: no displacement, and the mean of absolute dimensions."""
        return state_BP.new_zeros(len(state_BP), 1, len(self.relative))

    def _origin(self, state_BP: Tensor) -> Tensor:
        if state_BP.shape[1] != len(self.relative):  # other joints: nothing is relative to them
            return state_BP.new_zeros(len(state_BP), 1, len(self.relative))
        return torch.where(self.relative > 0, state_BP, 0.0)[:, None]
