# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Rehearsal: at every step the goal head learns again from samples of earlier steps.

Eight samples are too few to learn from where events end, and each costs a pass through the towers. What the goal head reads
of a sample is a hundred numbers: they are kept, and many are learned from in the time of a small matrix product. Towers and
eye learn from the batch alone. Not in the paper: our choice; docs/results/sight.md has what it is worth.

Shapes: B batch, I what the goal head reads, A action dims.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lerobot_wallwm.policies.towers.goal_head import GoalHead


class Rehearsal:
    """Samples of the goal head. A training that goes on from a checkpoint begins to collect anew."""

    # Samples that are kept, that are drawn for each of the batch, and the weight of their loss. Our choice.
    KEPT, DRAWN, WEIGHT = 8192, 31, 4.0

    def __init__(self) -> None:
        self._kept: tuple[Tensor, Tensor] | None = None

    def __call__(self, head: GoalHead, read_BI: Tensor, goal_BA: Tensor, has_B: Tensor) -> Tensor:
        """Keeps what was read of a batch (`Goal.read`), and returns the weighted loss of samples drawn from all that is kept.

        Args:
            head: That learns.
            read_BI, goal_BA: What it read, and where the events end, in goal units.
            has_B: Whose end is known; the others are not kept.
        """
        read, goal = read_BI[has_B], goal_BA[has_B]
        if self._kept is not None:
            read, goal = (
                torch.cat((old, new))[-self.KEPT :] for old, new in zip(self._kept, (read, goal), strict=True)
            )
        self._kept = read, goal
        if not len(read):
            return goal.sum()
        drawn = torch.randint(len(read), (self.DRAWN * len(read_BI),), device=read.device)
        return self.WEIGHT * head.loss(head.pose(read[drawn])[0], goal[drawn]).mean()
