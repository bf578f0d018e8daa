# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""One tick's observation on its way from the guards to the rollout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Observation:
    """What a rollout is given at a tick.

    Attributes:
        batch: LeRobot's observation of B robots.
        held: ``(B,)`` robots that stay where they are, whatever is planned for them.
        void: Robots whose queued actions must not be carried out any more.
        sent: What the arms were told at the last tick, normalised ``(B, A)``; None if nothing was, or not by the rollout.
    """

    batch: dict[str, Any]
    held: np.ndarray
    void: frozenset[int] = field(default_factory=frozenset)
    sent: Tensor | None = None
