# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Goals that an arm may be told: finite, inside the data's range, no faster than the data, constant where the data is.

The limits are kept in the checkpoint's `learned.json` (`motion_limits`), in the robot's units and readable by a person, and
are learned anew whenever LeRobot builds the policy for a dataset, so that they follow a fine-tuning on another arm.

Shapes: B robots, T ticks, A action dims, P proprioception dims. All in the robot's units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lerobot_wallwm.embodiment.description import Embodiment, constant, widest_alike
from lerobot_wallwm.policies.safety.interventions import Interventions, SafetyError

# Smallest step per tick, as a part of the joint's own range: a joint that hardly moved in the data must still be able to get
# to where the data has it. Of one that never moved, of the widest range of the same unit.
OWN_FLOOR, ALIKE_FLOOR = 0.01, 0.005


@dataclass(frozen=True)
class MotionLimits:
    """What goals are kept to, in the robot's units, each dimension by itself.

    Attributes:
        low, high: ``(A,)`` range of goals; that of velocities and steps has zero in it.
        step: ``(A,)`` largest change per tick; infinite where there is no limit.
        lead: ``(A,)`` how far a goal goes ahead of the pose in the data; infinite where that is not known.
        constant: ``(A,)`` dimensions that never moved in the data.
        reach: ``(A,)`` range of goals; of a constant dimension, the widest of the same unit.
        what: What action and state are.
    """

    low: np.ndarray
    high: np.ndarray
    step: np.ndarray
    lead: np.ndarray
    constant: np.ndarray
    reach: np.ndarray
    what: Embodiment

    @property
    def names(self) -> list[str]:
        """A names for people."""
        return [f"action[{dim.name}]" if dim.name.isdecimal() else dim.label for dim in self.what.action]

    @classmethod
    def build(
        cls,
        low: np.ndarray,
        high: np.ndarray,
        learned: dict[str, list[float]],
        factor: float,
        what: Embodiment,
    ) -> MotionLimits:
        """Limits from what was learned.

        Args:
            low, high: ``(A,)`` range of the actions in the data.
            learned: See `learn_motion_limits`; empty in checkpoints from before there were guards.
            factor: Multiple of the data's largest step that is allowed; 0 lifts the limit.
            what: What action and state are.
        """
        dims = len(low)
        nowhere = np.full(dims, np.inf)
        step = lead = nowhere
        low, high = low.astype(np.float64), high.astype(np.float64)
        low, high = (np.where(what.rates, f(v, 0.0), v) for f, v in ((np.minimum, low), (np.maximum, high)))
        still = constant(low, high)
        for turn in what.action_rotations:  # one of its numbers may rest while the others turn
            still[list(turn.dims)] = still[list(turn.dims)].all()
        span = np.where(still, 0.0, high - low)
        alike = widest_alike(span, what.action, np.maximum(np.abs(low), np.abs(high)))
        if len(learned.get("step", ())) == dims and factor > 0:
            floor = np.where(still, ALIKE_FLOOR * alike, OWN_FLOOR * span)
            step = factor * np.maximum(np.asarray(learned["step"]), floor)
        if len(learned.get("lead", ())) == dims:
            lead = np.maximum(np.asarray(learned["lead"]), np.where(np.isinf(step), 0.0, step))
        return cls(low, high, step, lead, still, np.where(still, alike, high - low), what)

    def near(self, goal_BA: np.ndarray, reference_BA: np.ndarray, most_A: np.ndarray) -> np.ndarray:
        """Goals no farther than ``most`` from a reference, the short way round; goals where the reference is not known."""
        goal, turning = goal_BA, self.what.turning
        if turning.any():
            goal = np.where(turning, reference_BA + self.what.difference(goal_BA, reference_BA), goal_BA)
        near = np.clip(goal, reference_BA - most_A, reference_BA + most_A)
        return np.where(np.isfinite(near), near, goal_BA)


# Part of the range by which rounding alone may move a goal; such changes are made but not counted.
ROUNDING = 1e-5
# A constant dimension counts as asked to move from this part of its `reach` on (our choice: the pose that relative actions
# start from is a measured one).
CONSTANT_NOISE = 0.01


class GoalGuard:
    """Keeps goals inside limits, from one tick to the next.

    The order is: whole goals that are not finite are replaced by the last good one; a dimension that never moved keeps
    its value; the rest is clamped to the range; last, the change since the last goal is limited. The last must come
    last: an arm that stands outside the range comes in at the allowed speed and is outside it on the way.

    Args:
        limits: To keep to.
        max_bad: Bad goals after which the arm is stopped; as many good ones in a row forgive them. Not bad ones in a row
            alone: after each the policy looks again, and may brake for some ticks before the next bad plan is there.
        diary: Where interventions go.
    """

    def __init__(self, limits: MotionLimits, max_bad: int, diary: Interventions):
        self.limits, self.max_bad, self.diary = limits, max_bad, diary
        self.last: np.ndarray | None = None
        self.bad: np.ndarray = np.zeros(0, int)  # in a row, of each robot
        self._strikes: np.ndarray = np.zeros(0, int)
        self._good: np.ndarray = np.zeros(0, int)

    def reset(self) -> None:
        """Forgets the last goals; the next ones start from the observed pose."""
        self.last = None

    def reanchor(self, pose_BA: np.ndarray, rows: list[int]) -> None:
        """After a gap: the last goals of these robots, no farther from the observed pose than in the data."""
        if self.last is None:
            return
        lead = self.limits.lead
        for row in rows:
            self.last[row] = self.limits.near(self.last[row], pose_BA[row], lead)

    def tick(self, asked_BA: np.ndarray, pose_BA: np.ndarray, held: np.ndarray | None = None) -> np.ndarray:
        """One goal per robot.

        Args:
            asked_BA: What the policy wants.
            pose_BA: Observed poses; NaN where unknown.
            held: ``(B,)`` robots that must keep their last goal, whatever is asked.

        Raises:
            SafetyError: `max_bad` bad goals, or there is no pose to hold.
        """
        if self.last is None or self.last.shape != pose_BA.shape:
            self.last = pose_BA.astype(np.float64).copy()
            self._forgive(len(pose_BA))
        if held is not None and held.any():
            asked_BA = np.where(held[:, None], self._hold(self.last, held), asked_BA)
        sent, bad = self._limit(asked_BA, self.last, held)
        self._count_bad(bad)
        self.last = sent
        return sent

    def chunk(self, asked_BTA: np.ndarray, pose_BA: np.ndarray) -> np.ndarray:
        """Goals of several ticks, for engines that ask for them in one piece.

        What such an engine really sends is not known here, so each chunk is by itself: it starts within `lead` of the
        observed pose, and goes on at the allowed speed.

        Raises:
            SafetyError: As `tick`.
        """
        lead = self.limits.lead
        first = asked_BTA[:, 0]
        near = self.limits.near(first, pose_BA, lead)
        reference = np.where(np.isfinite(near), near, pose_BA)
        if len(self.bad) != len(pose_BA):
            self._forgive(len(pose_BA))
        sent, bad_rows = [], np.zeros(len(pose_BA), bool)
        for t in range(asked_BTA.shape[1]):
            reference, bad = self._limit(asked_BTA[:, t], reference, None)
            bad_rows |= bad
            sent.append(reference)
        self._count_bad(bad_rows)
        return np.stack(sent, axis=1)

    def _limit(
        self, asked_BA: np.ndarray, last_BA: np.ndarray, held: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        limits = self.limits
        bad = ~np.isfinite(asked_BA).all(1)
        wanted = asked_BA
        if bad.any():
            wanted = np.where(bad[:, None], self._hold(last_BA, bad), asked_BA)
            for row in np.flatnonzero(bad):
                joints = [limits.names[i] for i in np.flatnonzero(~np.isfinite(asked_BA[row]))]
                self.diary.add("non_finite", int(row), detail=f"goals of {', '.join(joints)}: held")
        quiet = bad if held is None else bad | held
        clamped = np.clip(wanted, limits.low, limits.high)
        clamped = np.where(limits.constant, (limits.low + limits.high) / 2, clamped)
        size = np.where(limits.constant, CONSTANT_NOISE, ROUNDING) * limits.reach
        self._note(("range", "constant"), wanted, clamped, size, quiet)
        sent = limits.near(clamped, last_BA, limits.step)
        # A velocity may fall to zero at once.
        slows = limits.what.rates & (clamped * last_BA >= 0) & (np.abs(clamped) <= np.abs(last_BA))
        sent = limits.what.within_turn(np.where(slows, clamped, sent))
        sent = np.where(quiet[:, None], wanted, sent)  # to hold is to stay, wherever that is
        self._note(("rate", "rate"), clamped, sent, ROUNDING * limits.reach, quiet)
        return sent, bad

    def _note(
        self,
        kinds: tuple[str, str],
        before: np.ndarray,
        after: np.ndarray,
        size: np.ndarray,
        quiet: np.ndarray,
    ) -> None:
        """Counts changes; what follows from holding a robot is no intervention of its own."""
        changed = (np.abs(self.limits.what.difference(before, after)) > size) & ~quiet[:, None]
        if not changed.any():
            return
        constant = self.limits.constant
        for row, i in zip(*np.nonzero(changed), strict=True):
            kind = kinds[int(constant[i])]
            asked, sent = float(before[row, i]), float(after[row, i])
            self.diary.add(kind, int(row), self.limits.names[i], asked, sent)

    def _hold(self, last_BA: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The last goals, and zero velocities and steps; a constant dimension has its value even before the first.

        Raises:
            SafetyError: One of ``rows`` has neither.
        """
        fallback = np.where(self.limits.constant, (self.limits.low + self.limits.high) / 2, np.nan)
        hold = np.where(self.limits.what.rates, 0.0, np.where(np.isfinite(last_BA), last_BA, fallback))
        lost = ~np.isfinite(hold[rows]).all(0)
        if lost.any():
            names = ", ".join(self.limits.names[i] for i in np.flatnonzero(lost))
            raise SafetyError(
                f"The arm should be held before its first goal, but the observed pose of {names} is not known: nothing "
                "was sent. Fix: see what went wrong in the lines above; and a dataset whose observation.state has the "
                "joints of its action, under the same names, makes a policy that knows their pose."
            )
        return hold

    def _forgive(self, robots: int) -> None:
        self.bad, self._strikes, self._good = (np.zeros(robots, int) for _ in range(3))

    def _count_bad(self, bad: np.ndarray) -> None:
        self.bad = np.where(bad, self.bad + 1, 0)
        self._good = np.where(bad, 0, self._good + 1)
        self._strikes = np.where(self._good >= self.max_bad, 0, self._strikes + bad)
        if self._strikes.max(initial=0) >= self.max_bad:
            raise SafetyError(
                f"{self.max_bad} goals were not finite (NaN or infinite) without as many sound ones in a row between "
                "them; the arm was held meanwhile. Fix: use a checkpoint with sound weights, or --policy.dtype=float32 if "
                "this one overflows."
            )
