# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Seams: how commands pass from one plan to the next, and to rest, without a jump in position or velocity.

A new plan rarely begins where the last command left off. `catch_up` leads there as fast as an acceleration allows that the
arm knows from its demonstrations, joint by joint, and from then on leaves the plan alone. `brake` brings a moving command to
rest. The paper says nothing of seams; all of this is our choice.

Shapes: L plan steps, A action dims. Everything is per tick and in one unit per dimension: an affine change of units (the
pipeline's normalisation, or degrees) changes no result but for that unit.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

# Ticks to rest at most: an arm that brakes for want of a plan must not go far.
MOST_BRAKE = 6
# The part of the allowed acceleration with which a joint slows down as it nears its plan; the rest is for the plan's own.
_SLOWS = 0.6
# Nearer than this, in half ranges of the data, the plan is met.
_MET = 1e-6


# Clamp of commands: so far from the middle on either side, or the lowest and highest of each dimension.
Bound = float | tuple[Tensor, Tensor] | None


def clamped(values: Tensor, bound: Bound) -> Tensor:
    """Commands ``(..., A)`` within a bound."""
    if bound is None:
        return values
    return values.clamp(*bound) if isinstance(bound, tuple) else values.clamp(-bound, bound)


def catch_up(
    plan_LA: Tensor, last_A: Tensor, before_A: Tensor, most_A: Tensor, bound: Bound = None
) -> tuple[Tensor, int]:
    """A plan that goes on from where the commands were and how fast they were going, and is met as soon as can be.

    Each joint closes in on its plan as fast as it may and still stop there: with speeds w, w - a, w - 2a, ... it covers
    w (w / a + 1) / 2, which the distance to the plan bounds.

    Args:
        plan_LA: Commands for the coming ticks, at least one.
        last_A: The last command.
        before_A: The one before.
        most_A: Acceleration that no joint exceeds, per tick squared, above 0.
        bound: Clamp of the result, as the pipeline clamps, which goes before the acceleration; None for none.

    Returns:
        ``(L, A)`` and the ticks until all joints are on the plan (L: not within it).
    """
    plan = clamped(plan_LA, bound)
    ends = clamped(plan.new_tensor([[-math.inf], [math.inf]]).expand(2, plan.shape[1]), bound)
    least, greatest = ends.double().cpu().numpy()
    rows, most, at = (t.double().cpu().numpy() for t in (plan, most_A, last_A))
    speed = at - before_A.double().cpu().numpy()
    steps = np.diff(rows, axis=0)
    steps = np.concatenate([steps[:1], steps]) if len(steps) else np.zeros_like(rows)
    slows = _SLOWS * most
    gap = rows[0] - steps[0] - at  # to where the plan would have been at the last tick
    out, met = rows.copy(), len(rows)
    for k, step in enumerate(steps):
        size = np.abs(gap)
        closing = np.minimum(size, slows * (np.sqrt(1 + 8 * size / slows) - 1) / 2)
        reached = np.clip(step + np.sign(gap) * closing, speed - most, speed + most) + at
        reached = np.clip(reached, least, greatest)
        speed, at = reached - at, reached
        gap = rows[k] - at
        stays = k + 1 == len(rows) or bool((np.abs(steps[k + 1] - speed) <= most).all())
        if stays and bool((np.abs(gap) < _MET).all()):
            met = k
            break
        out[k] = at
    return torch.from_numpy(out).to(plan), met


def brake(last_A: Tensor, before_A: Tensor, steps: int, bound: Bound = None) -> Tensor:
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
    return clamped(path, bound)


def brake_length(last_A: Tensor, before_A: Tensor, most_A: Tensor) -> int:
    """Ticks in which `brake` slows no joint down harder than ``most_A``, as far as `MOST_BRAKE` allows."""
    speed = (last_A - before_A).abs() / most_A
    return min(MOST_BRAKE, max(1, math.ceil(1.5 * float(speed.max()))))


class CommandPath:
    """What one robot was told lately, and the smooth way on from there.

    Args:
        most_A: Acceleration of seams, per tick squared; None passes plans on as they are and stops at once.
        bound: Clamp of the commands, as the pipeline clamps them.
        rest_A: What stops a dimension that is a velocity or a step; NaN for positions, which stop where they are.
        turns_A: Dimensions that turn round, whose numbers jump: they pass on as planned, and stop at once. None: none does.

    Attributes:
        last, before: The last command and the one before, ``(A,)``.
        behind: Ticks until the commands are on the plan that `follow` was given last; above 0 where its end comes first.
    """

    def __init__(
        self, most_A: Tensor | None, bound: Bound, rest_A: Tensor | None = None, turns_A: Tensor | None = None
    ):
        self.most, self.bound, self.turns = most_A, bound, turns_A
        self.rest = None if rest_A is None or bool(rest_A.isnan().all()) else rest_A
        self.last: Tensor | None = None
        self.before: Tensor | None = None
        self.behind = 0
        self._braking: Tensor | None = None
        self._braked = 0

    def start(self, pose_A: Tensor) -> None:
        """The arm rests at this pose; nothing was commanded yet."""
        self.last = self.before = clamped(pose_A, self.bound)

    def follow(self, plan_LA: Tensor) -> Tensor:
        """A plan for the coming ticks, as it is met from here ``(L, A)``; one that is not finite is left for the guards to see."""
        if self.most is None or self.last is None or self.before is None:
            return plan_LA
        if not bool(torch.isfinite(plan_LA).all()):
            return plan_LA
        way, met = catch_up(plan_LA, self.last, self.before, self.most, self.bound)
        if self.turns is not None:
            way = torch.where(self.turns, clamped(plan_LA, self.bound), way)
        self.behind = met if met < len(way) else met + 1  # also after its last row
        return way

    def stop(self, before_A: Tensor, last_A: Tensor) -> Tensor:
        """The way to rest ``(L, A)`` after these two commands."""
        if self.turns is not None:
            before_A = torch.where(self.turns, last_A, before_A)
        if self.rest is not None:  # a velocity does not go on, however it changed
            before_A = torch.where(self.rest.isnan(), before_A, last_A)
        steps = 1 if self.most is None else brake_length(last_A, before_A, self.most)
        way = brake(last_A, before_A, steps, self.bound)
        return way if self.rest is None else torch.where(self.rest.isnan(), way, self.rest)

    def hold(self) -> Tensor:
        """The next command ``(A,)`` without a plan: brakes, then stays."""
        assert self.last is not None and self.before is not None, "start() first"
        if self._braking is None:
            self._braking, self._braked, self.behind = self.stop(self.before, self.last), 0, 0
        row = min(self._braked, len(self._braking) - 1)
        self._braked += 1
        return self._braking[row]

    def move_to(self, before_A: Tensor, last_A: Tensor) -> None:
        """The last two commands were, or will be, these."""
        self.before, self.last, self._braking, self.behind = before_A, last_A, None, 0

    def remember_command(self, command_A: Tensor, holding: bool = False) -> None:
        """Remembers the command of this tick, as the pipeline will clamp it."""
        command = clamped(command_A, self.bound)
        if self.last is not None:  # the guards hold where it is not finite
            command = torch.where(torch.isfinite(command_A), command, self.last)
        self.before = command if self.last is None else self.last
        self.last = command
        self.behind = max(0, self.behind - 1)
        if not holding:
            self._braking = None

    def amend(self, command_A: Tensor) -> None:
        """The last command was changed to this one on its way to the arm."""
        if self.last is not None and not torch.equal(self.last, clamped(command_A, self.bound)):
            self.last, self._braking = command_A.clone(), None


def seconds_to_frames(seconds: float, fps: float) -> int:
    """At least one frame."""
    return max(1, math.floor(seconds * fps + 0.5))


# In half ranges of the data per tick squared: what seams may always do, and what they do where nothing was measured (an SO-101
# at 20 Hz has 0.02 to 0.2).
LEAST_ACCELERATION, UNKNOWN_ACCELERATION = 0.005, 0.02
