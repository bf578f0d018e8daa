# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The postprocessor's memory of the last sound goals, for the day when something that is no number comes by."""

from __future__ import annotations

import torch
from torch import Tensor

from .interventions import SafetyError

# Bad goals in a row after which the run ends (our choice, as `SafetyFields.max_bad_goals`, which a pipeline's step does
# not see).
MAX_BAD = 10


class LastGood:
    """Replaces goals that are not finite by the last ones that were, robot by robot."""

    def __init__(self) -> None:
        self.goals: Tensor | None = None
        self.bad = 0

    def reset(self) -> None:
        """A new rollout."""
        self.goals, self.bad = None, 0

    def __call__(self, goals: Tensor) -> Tensor:
        """Finite goals ``(B, A)`` or ``(A,)``, which are remembered; a chunk ``(B, T, A)`` is sound or refused.

        Raises:
            SafetyError: There is nothing to hold, a chunk is not finite, or nothing sound came for a while.
        """
        sound = torch.isfinite(goals).all(-1, keepdim=True)
        if not bool(sound.all()):
            self.bad += 1
            known = self.goals is not None and self.goals.shape == goals.shape and goals.ndim < 3
            if not known or self.bad >= MAX_BAD:
                raise SafetyError(
                    "The policy's postprocessor got goals that are not finite (NaN or infinite)"
                    + (f" {MAX_BAD} times in a row" if known else ", and none before to hold")
                    + ": nothing was sent. Fix: use a checkpoint with sound weights and statistics."
                )
            assert self.goals is not None
            goals = torch.where(sound, goals, self.goals.to(goals))
        else:
            self.bad = 0
        if goals.ndim < 3:
            self.goals = goals.detach().clone()
        return goals
