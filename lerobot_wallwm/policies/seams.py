# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Seams: how commands pass from one plan to the next, and to rest, without a jump in position or velocity.

A new plan rarely begins where the last command left off. `blend` adds to it an offset that starts as the difference in
position and velocity at the seam and dies out along a quintic, so that after some steps the arm is exactly on the plan.
`brake` brings a moving command to rest. The paper says nothing of seams; all of this is our choice.

Shapes: L plan steps, A action dims. Everything is per tick and in one unit per dimension: an affine change of units (the
pipeline's normalisation, or degrees) changes no result but for that unit.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Largest second derivatives, over s in [0, 1], of the quintics in `_fades`.
_PEAK_OFFSET = 5.7736
_PEAK_SLOPE = 3.9402

# A seam is stretched up to so many times `seam_steps`, so that it does not accelerate more than the plan.
MOST_STRETCH = 3
# Acceleration, in half ranges of the data per tick squared, that is never too much: about a third of a degree.
SMALL = 0.005


def _fades(steps: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """At s = 1/steps, ..., 1: the quintic from 1 to 0, and the one of slope 1 at s = 0; both end in rest at 0.

    Value, slope and curvature are (1, 0, 0) or (0, 1, 0) at s = 0, and (0, 0, 0) at s = 1.
    """
    s = torch.arange(1, steps + 1, dtype=like.dtype, device=like.device) / steps
    offset = 1 - s**3 * (10 - 15 * s + 6 * s * s)
    slope = s - s**3 * (6 - 8 * s + 3 * s * s)
    offset[-1], slope[-1] = 0.0, 0.0  # exactly: after the seam the plan is the plan
    return offset, slope


def blend(
    plan_LA: Tensor, last_A: Tensor, before_A: Tensor, steps: int, bound: float | None = None
) -> Tensor:
    """A plan that goes on from where the commands were, and how fast they were going.

    Args:
        plan_LA: Commands for the coming ticks, at least one.
        last_A: The last command.
        before_A: The one before.
        steps: Ticks until the plan is met; 0 or 1 leaves the plan alone.
        bound: Clamp of the result, as the pipeline clamps; None for none.

    Returns:
        ``(L, A)``; from row ``steps - 1`` on, the plan itself (clamped).
    """
    plan = plan_LA if bound is None else plan_LA.clamp(-bound, bound)
    if steps < 2:
        return plan
    first = plan[0]
    slope = plan[1] - first if len(plan) > 1 else torch.zeros_like(first)
    gap = last_A - (first - slope)  # to where the plan would have been at the last tick
    drift = (last_A - before_A) - slope
    fade, slide = _fades(steps, plan)
    run = min(steps, len(plan))
    offset = fade[:run, None] * gap + slide[:run, None] * (drift * steps)
    blended = plan.clone()
    blended[:run] += offset
    return blended if bound is None else blended.clamp(-bound, bound)


def peak_acceleration(gap: float, drift: float, steps: int) -> float:
    """Bound on what `blend` adds to the second difference, per tick squared.

    Args:
        gap: Distance between the last command and the plan at the seam.
        drift: Difference of velocities, per tick.
        steps: Of the blend.
    """
    return _PEAK_OFFSET * abs(gap) / steps**2 + _PEAK_SLOPE * abs(drift) / steps


def seam_length(plan_LA: Tensor, last_A: Tensor, before_A: Tensor, least: int) -> int:
    """Ticks of a seam that accelerates no joint harder than the plan itself does, as far as `MOST_STRETCH` allows.

    Args:
        plan_LA: The plan.
        last_A: The last command.
        before_A: The one before.
        least: Ticks of the shortest seam.
    """
    slope = plan_LA[1] - plan_LA[0] if len(plan_LA) > 1 else torch.zeros_like(plan_LA[0])
    gap = (last_A - (plan_LA[0] - slope)).abs()
    drift = (last_A - before_A - slope).abs()
    own = second_differences(plan_LA).abs()
    allowed = own.amax(0).clamp_min(SMALL) if len(own) else torch.full_like(gap, SMALL)
    steps = torch.arange(least, MOST_STRETCH * least + 1, dtype=gap.dtype, device=gap.device)[:, None]
    fits = (_PEAK_OFFSET * gap / steps**2 + _PEAK_SLOPE * drift / steps <= allowed).all(dim=1)
    return int(steps[int(fits.int().argmax()), 0]) if bool(fits.any()) else MOST_STRETCH * least


def brake(last_A: Tensor, before_A: Tensor, steps: int, bound: float | None = None) -> Tensor:
    """Commands that come to rest: the velocity falls to zero along a smoothstep, without turning round.

    Args:
        last_A: The last command.
        before_A: The one before.
        steps: Ticks to rest; 0 or 1 stops at once.
        bound: Clamp of the result; None for none.

    Returns:
        ``(max(steps, 1), A)``; the last row is the pose of rest, about half of ``steps`` times the velocity away.
    """
    if steps < 2:
        return last_A[None].clone()
    s = torch.arange(1, steps + 1, dtype=last_A.dtype, device=last_A.device) / steps
    speed = 1 - s * s * (3 - 2 * s)
    path = last_A + speed.cumsum(0)[:, None] * (last_A - before_A)
    return path if bound is None else path.clamp(-bound, bound)


class CommandPath:
    """What one robot was told lately, and the smooth way on from there.

    Args:
        steps: Ticks of the shortest seam; 0 passes plans on as they are and stops at once.
        bound: Clamp of the commands, as the pipeline clamps them.
    """

    def __init__(self, steps: int, bound: float):
        self.steps, self.bound = steps, bound
        self.last: Tensor | None = None
        self.before: Tensor | None = None
        self._braking: Tensor | None = None
        self._braked = 0

    def start(self, pose_A: Tensor) -> None:
        """The arm rests at this pose; nothing was commanded yet."""
        self.last = self.before = pose_A.clamp(-self.bound, self.bound)

    def follow(self, plan_LA: Tensor) -> Tensor:
        """A plan for the coming ticks, blended from here ``(L, A)``; one that is not finite is left for the guards to see."""
        if self.last is None or self.before is None or self.steps < 2:
            return plan_LA
        if not bool(torch.isfinite(plan_LA).all()):
            return plan_LA
        plan = plan_LA.clamp(-self.bound, self.bound)
        steps = seam_length(plan, self.last, self.before, self.steps)
        return blend(plan, self.last, self.before, steps, self.bound)

    def hold(self) -> Tensor:
        """The next command ``(A,)`` without a plan: brakes, then stays."""
        assert self.last is not None and self.before is not None, "start() first"
        if self._braking is None:
            self._braking, self._braked = brake(self.last, self.before, self.steps, self.bound), 0
        row = min(self._braked, len(self._braking) - 1)
        self._braked += 1
        return self._braking[row]

    def move_to(self, before_A: Tensor, last_A: Tensor) -> None:
        """The last two commands were, or will be, these."""
        self.before, self.last, self._braking = before_A, last_A, None

    def told(self, command_A: Tensor, holding: bool = False) -> None:
        """Remembers the command of this tick, as the pipeline will clamp it."""
        command = command_A.clamp(-self.bound, self.bound)
        if self.last is not None:  # the guards hold where it is not finite
            command = torch.where(torch.isfinite(command_A), command, self.last)
        self.before = command if self.last is None else self.last
        self.last = command
        if not holding:
            self._braking = None

    def amend(self, command_A: Tensor) -> None:
        """The last command was changed to this one on its way to the arm."""
        if self.last is not None and not torch.equal(self.last, command_A.clamp(-self.bound, self.bound)):
            self.last, self._braking = command_A.clone(), None


def second_differences(commands_TA: Tensor) -> Tensor:
    """Acceleration of commands ``(T - 2, A)``, per tick squared; row k is centred on command k + 1."""
    return commands_TA[2:] - 2 * commands_TA[1:-1] + commands_TA[:-2]


def seconds_to_frames(seconds: float, fps: float) -> int:
    """At least one frame."""
    return max(1, math.floor(seconds * fps + 0.5))
