# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Whether what the policy sees is alive: cameras that froze or went dark, observations that do not change.

A still scene in front of an exact renderer gives the same picture for ever, so the same bytes alone prove nothing. A
picture counts as frozen when the arm has moved meanwhile, and an observation as stale when the goals have.

Shapes: B robots, P proprioception dims, A action dims.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Our choices. The same bytes for this long, in seconds: LeRobot's own cameras give up on a frame of that age, too.
FROZEN_S = 0.5
# ... and in observations, so that a camera slower than the loop is not suspected.
FROZEN_LOOKS = 3
# How far a joint must have moved meanwhile, as a part of its range in the data.
MOVED = 0.05
# A picture (in [0, 1]) is dark when nothing in it is brighter than this, and blank when nothing differs by more than that.
DARK, BLANK = 8 / 255, 1.5 / 255
# Rows of a picture that are compared; larger ones are thinned.
LOOKED_AT = 120


@dataclass
class _Still:
    """Since when something has not changed, per robot."""

    seen: Tensor
    since: np.ndarray
    looks: np.ndarray
    moved: np.ndarray
    start: np.ndarray


@dataclass
class Fault:
    """What is wrong with what a robot sees.

    Attributes:
        kind: ``frozen_camera``, ``dark_camera``, ``stale_observation`` or ``bad_state``.
        row: Which robot.
        detail: For a person.
    """

    kind: str
    row: int
    detail: str


@dataclass
class ObservationWatch:
    """Compares each observation with those before.

    Attributes:
        cameras: Keys of the pictures.
        span: ``(P,)`` range of the state in the data; infinite where it is not known, which proves nothing.
        reach: ``(A,)`` range of goals.
        names: P names of the state's dimensions.
    """

    cameras: list[str]
    span: np.ndarray
    reach: np.ndarray
    names: list[str]
    _pictures: dict[str, _Still] = field(default_factory=dict)
    _all: _Still | None = None

    def reset(self) -> None:
        """Forgets what was seen."""
        self._pictures, self._all = {}, None

    def look(
        self, batch: dict[str, Any], state_BP: np.ndarray, goals_BA: np.ndarray | None, now: float
    ) -> list[Fault]:
        """One observation of all robots.

        Args:
            batch: Pictures ``(B, 3, H, W)`` in [0, 1].
            state_BP: Proprioception.
            goals_BA: The last goals, or None before the first.
            now: Seconds, of any clock.

        Returns:
            What is wrong with it; nothing for a sound one.
        """
        faults = [
            Fault("bad_state", int(row), f"{_names(self.names, ~np.isfinite(state_BP[row]))} not finite")
            for row in np.flatnonzero(~np.isfinite(state_BP).all(1))
        ]
        same_all = np.ones(len(state_BP), bool)
        for key in self.cameras:
            if key not in batch:
                continue
            picture = thin(batch[key])
            still, same = _advance(self._pictures.get(key), picture, state_BP, now)
            self._pictures[key] = still
            same_all &= same
            still.moved = np.fmax(still.moved, np.abs(state_BP - still.start) / self.span)
            for row in np.flatnonzero(_long(still, now) & (still.moved > MOVED).any(1)):
                joint = int(np.nanargmax(still.moved[row]))
                faults.append(
                    Fault(
                        "frozen_camera",
                        int(row),
                        f"'{key}' has shown the same picture for {now - still.since[row]:.1f} s while "
                        f"{self.names[joint]} moved by {still.moved[row, joint]:.0%} of its range",
                    )
                )
            flat = picture.flatten(1)
            brightest, darkest = (f(1).float().cpu().numpy() for f in (flat.amax, flat.amin))
            for row in np.flatnonzero((brightest < DARK) | (brightest - darkest < BLANK)):
                what = "black" if brightest[row] < DARK else "blank"
                faults.append(Fault("dark_camera", int(row), f"'{key}' shows a {what} picture"))
        faults += self._stale(state_BP, goals_BA, same_all, now)
        return faults

    def _stale(
        self, state_BP: np.ndarray, goals_BA: np.ndarray | None, same_pictures: np.ndarray, now: float
    ) -> list[Fault]:
        """Whole observations that stay the same while goals move."""
        if goals_BA is None:
            return []
        still, same = _advance(self._all, torch.from_numpy(state_BP.copy()), goals_BA, now)
        self._all = still
        for row in np.flatnonzero(same & ~same_pictures):
            still.since[row], still.looks[row], still.moved[row] = now, 0, 0.0
            still.start[row] = goals_BA[row]
        still.moved = np.fmax(still.moved, np.abs(goals_BA - still.start) / self.reach)
        return [
            Fault(
                "stale_observation",
                int(row),
                f"pose and pictures have been the same for {now - still.since[row]:.1f} s although the goals moved",
            )
            for row in np.flatnonzero(_long(still, now) & (still.moved > MOVED).any(1))
        ]


def thin(picture_B3HW: Tensor) -> Tensor:
    """A copy of what is compared, in [0, 1]: some `LOOKED_AT` rows."""
    stride = max(1, picture_B3HW.shape[-2] // LOOKED_AT)
    thinned = picture_B3HW[..., ::stride, ::stride]
    return thinned.clone() if thinned.is_floating_point() else thinned / 255


def _advance(before: _Still | None, seen: Tensor, pose: np.ndarray, now: float) -> tuple[_Still, np.ndarray]:
    """The state after one more look, and which robots see the same as before ``(B,)``."""
    count = len(seen)
    if before is None or before.seen.shape != seen.shape or before.start.shape != pose.shape:
        start = pose.astype(np.float64).copy()
        fresh = _Still(seen, np.full(count, now), np.zeros(count, int), np.zeros_like(start), start)
        return fresh, np.zeros(count, bool)
    same = (before.seen == seen).flatten(1).all(1).cpu().numpy()
    since, looks = np.where(same, before.since, now), np.where(same, before.looks + 1, 0)
    moved = np.where(same[:, None], before.moved, 0.0)
    start = np.where(same[:, None], before.start, pose)
    return _Still(seen, since, looks, moved, start), same


def _long(still: _Still, now: float) -> np.ndarray:
    return (still.looks >= FROZEN_LOOKS) & (now - still.since >= FROZEN_S)


def _names(names: list[str], chosen: np.ndarray) -> str:
    return ", ".join(names[i] for i in np.flatnonzero(chosen))
