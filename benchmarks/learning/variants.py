# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What is compared: each variant changes one thing of the base."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        name: Of the row.
        changes: Fields of `WallwmConfig`, or the stage's ``anchored_fraction``, that differ from the base.
        view: Which carved view it trains on: ``event``, or ``chunk`` for fixed lengths with the same mean.
        told: What it is told on held-out data: the event's ``caption`` or the episode's ``instruction``.
        asks: What the row is to show.
    """

    name: str
    asks: str
    changes: dict[str, Any] = field(default_factory=dict)
    view: str = "event"
    told: str = "caption"


# The base carries the future in half of each batch, so that what concerns the video can show in a short training.
BASE: dict[str, Any] = {"future_fraction": 0.5, "replan_steps": 0}

VARIANTS = (
    Variant("base", "cross-view attention, both timestep mappings half and half, K = 2, events"),
    Variant(
        "sight cones", "cross-view attention masked to what two cameras both see", {"calibration": "so101"}
    ),
    Variant(
        "sight cones + tubes",
        "a co-visible window of one view replaced by noise in half of the samples",
        {"calibration": "so101", "tube_probability": 0.5},
    ),
    Variant("symmetric", "t_A = t_V for every sample", {"anchored_fraction": 0.0}),
    Variant("anchored", "the video held at s* for every sample", {"anchored_fraction": 1.0}),
    Variant("K = 1", "one action noise level on a video forward", {"action_draws": 1}),
    Variant("K = 6", "six action noise levels on a video forward", {"action_draws": 6}),
    Variant("fixed chunks", "cut by the clock, told the instruction", view="chunk", told="instruction"),
)

# Inference alone: the base's own checkpoints, read in another way.
IMAGINATIONS = ("none", "anchor", "full")
