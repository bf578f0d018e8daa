# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the rules judge, what a rule says, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import OpenLoop
from .latency import Latency
from .match import Match
from .sensitivity import Sensitivity

LEVELS = ("yes", "care", "no")


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


@dataclass(frozen=True)
class Finding:
    """What one rule says.

    Attributes:
        rule: Its name.
        level: One of `LEVELS`.
        text: A sentence for a person.
    """

    rule: str
    level: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """The worst level, its reasons, and everything that the rules said."""

    level: str
    reasons: list[str]
    findings: list[Finding]

    @property
    def switch_on(self) -> bool:
        """Whether the arm may be switched on at all."""
        return self.level != "no"

    @property
    def answer(self) -> str:
        """In words."""
        return {"yes": "yes", "care": "yes, with care", "no": "no"}[self.level]
