# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Two baselines for open-loop action error: hold the last pose, and the mean action sequence of the caption.

Shapes: L frames of an event, H horizon, D joints, P phase bins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

PHASE_BINS = 50


@dataclass(frozen=True)
class EventRows:
    """One event of a carved view, without its images."""

    caption: str  # its task string
    template: str  # the caption with slots, for captions that training never shows
    state: np.ndarray  # ``(L, D)`` in dataset units
    action: np.ndarray  # ``(L, D)`` in dataset units
    first_row: int = 0  # where it starts in its view
    kind: str = ""  # label of the event, empty where the data was not carved
    source: int = 0  # episode of the source dataset that it was carved from; its own number where it was not
    start: int = 0  # its first frame in that episode
    instruction: str = ""  # task of that episode


def hold_pose(state: np.ndarray, horizon: int) -> np.ndarray:
    """Actions ``(H, D)`` that stay at the observed state ``(D,)``."""
    return np.repeat(state[None], horizon, axis=0)


class CaptionMean:
    """What the training events of a caption did on average.

    One variant knows what the policy knows without looking: the caption and the observed state, to which it adds the
    mean displacement k steps later. The other four are told more than any policy in use could know: how far into the
    event the observation is, and the phase-aligned ones even how long the event will last.
    """

    VARIANTS = (
        "displacement, caption only",
        "absolute, by step",
        "displacement, by step",
        "absolute, by phase",
        "displacement, by phase",
    )

    def __init__(self, events: Iterable[EventRows]):
        groups: dict[str, list[EventRows]] = defaultdict(list)
        for event in events:
            groups[event.caption].append(event)
            groups[f"template: {event.template}"].append(event)
        if not groups:
            raise ValueError("the training view holds no events. Fix: run `wallwm prepare` again")
        self._means = {key: _Mean(group) for key, group in groups.items()}

    def predict(
        self,
        variant: str,
        caption: str,
        template: str,
        state: np.ndarray,
        offset: int,
        length: int,
        horizon: int,
    ) -> np.ndarray:
        """Actions ``(H, D)`` from a state ``(D,)``, ``offset`` frames into an event of ``length`` frames.

        The template serves where training lacks the caption.
        """
        mean = self._means.get(caption) or self._means.get(f"template: {template}")
        if mean is None:
            return hold_pose(state, horizon)
        if variant == "displacement, caption only":
            return state + mean.at_step(mean.displacement, np.arange(horizon))
        steps = offset + np.arange(horizon)
        if variant.endswith("phase"):
            actions = mean.at_phase(mean.phase_action, steps, length)
            origin = mean.at_phase(mean.phase_state, steps[:1], length)
        else:
            actions, origin = mean.at_step(mean.step_action, steps), mean.at_step(mean.step_state, steps[:1])
        return actions - origin + state if variant.startswith("displacement") else actions


class _Mean:
    """Mean trajectories of a group of events."""

    def __init__(self, events: Sequence[EventRows]):
        longest = max(len(event.action) for event in events)
        actions, states = [event.action for event in events], [event.state for event in events]
        self.step_action, self.step_state = (_mean_by_step(rows, longest) for rows in (actions, states))
        moves = [e.action[t:] - e.state[t] for e in events for t in range(len(e.action))]
        self.displacement = _mean_by_step(moves, longest)
        self.phase_action, self.phase_state = (
            np.mean([resample(row, PHASE_BINS) for row in rows], axis=0) for rows in (actions, states)
        )

    @staticmethod
    def at_step(mean: np.ndarray, steps: np.ndarray) -> np.ndarray:
        return mean[np.minimum(steps, len(mean) - 1)]

    @staticmethod
    def at_phase(mean: np.ndarray, steps: np.ndarray, length: int) -> np.ndarray:
        return _interpolated(mean, np.clip(steps / max(length - 1, 1), 0, 1) * (PHASE_BINS - 1))


def _mean_by_step(rows: Sequence[np.ndarray], longest: int) -> np.ndarray:
    """Mean over the events that still last at each step, ``(longest, D)``."""
    total, count = np.zeros((longest, rows[0].shape[1])), np.zeros((longest, 1))
    for values in rows:
        total[: len(values)] += values
        count[: len(values)] += 1
    return total / count


def resample(values: np.ndarray, bins: int) -> np.ndarray:
    """A trajectory ``(L, D)`` at ``bins`` equally spaced phases, linearly interpolated."""
    return _interpolated(values, np.linspace(0, len(values) - 1, bins))


def _interpolated(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(at, np.arange(len(values)), column) for column in values.T], axis=1)
