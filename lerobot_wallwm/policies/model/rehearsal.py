# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Rehearsal: at every step the goal head learns again from samples of earlier steps.

Where an event ends is one pose, and a batch holds few events: eight samples are too few to tell the goal head how places
in pictures and poses of the arm belong together, and each costs a pass through the towers. What the goal head reads of a
sample is a hundred numbers. So they are kept, and it learns from many at once for the time of a small matrix product.
The towers and the eye learn from the batch alone. Not in the paper: our choice; what it is worth is in docs/results.

Shapes: B batch, I what the goal head reads, A action dims, N samples kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lerobot_wallwm.policies.towers.goal_head import GoalHead


class Rehearsal:
    """Samples of the goal head. A training that goes on from a checkpoint begins to collect anew."""

    # N, samples drawn for each of the batch, and the weight of their loss. Our choice.
    KEPT = 8192
    DRAWN = 31
    WEIGHT = 4.0

    def __init__(self) -> None:
        self._read: Tensor | None = None
        self._goal: Tensor | None = None

    def __call__(self, head: GoalHead, read_BI: Tensor, goal_BA: Tensor, has_B: Tensor) -> Tensor:
        """Keeps a batch and returns the loss of samples drawn from all that are kept, weighted; a scalar.

        Args:
            head: That learns.
            read_BI: What it read of the batch (`Goal.read`).
            goal_BA: Where the events end, in goal units.
            has_B: Samples whose end is known; the others are not kept.
        """
        read, goal = read_BI.detach()[has_B], goal_BA[has_B]
        if self._read is not None and self._goal is not None:
            read = torch.cat((self._read.to(read), read))[-self.KEPT :]
            goal = torch.cat((self._goal.to(goal), goal))[-self.KEPT :]
        self._read, self._goal = read, goal
        if not len(read):
            return head.to_pose.bias.sum() * 0.0
        drawn = torch.randint(len(read), (self.DRAWN * len(read_BI),), device=read.device)
        return self.WEIGHT * head.loss(head.read_again(read[drawn]), goal[drawn]).mean()
