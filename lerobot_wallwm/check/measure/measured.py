# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a check measured, in one place for the rules to read."""

from __future__ import annotations

from dataclasses import dataclass, field

from lerobot_wallwm.check.measure.errors import OpenLoop
from lerobot_wallwm.check.measure.latency import Latency
from lerobot_wallwm.check.measure.match import Match
from lerobot_wallwm.check.measure.sensitivity import Sensitivity


@dataclass
class Measured:
    """What the rules judge; parts that were not measured are None.

    Attributes:
        stage: The checkpoint's.
        acts: Whether that stage trains actions.
        bad_weights: Names of weights that are not finite.
        bad_outputs: Share of predicted actions that are not finite.
        carved: Whether the data's events are known.
        from_training: Whether the data look like the checkpoint's own training view.
        episodes: Source episodes.
        unit: Of the errors.
        open_loop: Errors.
        clamped: Share of predicted actions outside of the data's range.
        first_step: 99th percentile of the first action's distance from the pose, predicted and recorded.
        sensitivity: Changes by exchanged inputs.
        remaining: Mean error of the predicted end, and of guessing the median, in frames.
        latency: On this machine.
        load: Of the machine while it was measured (mean number of running processes), and its cores.
        match: Of data and checkpoint.
        imagination: The configured one.
        psnr: Of the imagined video, and of repeating the keyframe.
    """

    stage: str = "joint"
    acts: bool = True
    bad_weights: list[str] = field(default_factory=list)
    bad_outputs: float = 0.0
    carved: bool = True
    from_training: bool = False
    episodes: int = 0
    unit: str = "dataset units"
    open_loop: OpenLoop | None = None
    clamped: float | None = None
    first_step: tuple[float, float] | None = None
    sensitivity: Sensitivity | None = None
    remaining: tuple[float, float] | None = None
    latency: Latency | None = None
    load: tuple[float, int] | None = None
    match: Match | None = None
    imagination: str = "none"
    psnr: tuple[float, float] | None = None
