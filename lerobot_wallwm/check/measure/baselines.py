# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Two baselines for open-loop action error: stay, and the mean action sequence of the caption.

What staying is depends on what an action is (`embodiment`): the observed pose where the action is a position, zero where it
is a velocity or a step.

Shapes: L frames of an event, H horizon, D dimensions of an action, S of a state, P phase bins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lerobot_wallwm.embodiment.description import Embodiment

PHASE_BINS = 50


@dataclass(frozen=True)
class EventRows:
    """One event of a carved view, or one episode of a dataset that was not carved, without its images."""

    caption: str  # its task string
    template: str  # the caption with slots, for captions that training never shows
    state: np.ndarray  # ``(L, S)`` in dataset units
    action: np.ndarray  # ``(L, D)`` in dataset units
    first_row: int = 0  # where it starts in its view
    kind: str = ""  # label of the event, empty where the data was not carved
    source: int = 0  # episode of the source dataset that it was carved from; its own number where it was not
    start: int = 0  # its first frame in that episode
    instruction: str = ""  # task of that episode
    hold: np.ndarray | None = None  # ``(L, D)`` actions that would stay; None where they are the states
    tasks: tuple[str, ...] = ()  # L task strings, where they change within the episode
    spans: tuple[tuple[int, int, str], ...] = ()  # ``(start, end, kind)`` of the events of a whole episode

    @property
    def stay(self) -> np.ndarray:
        """``(L, D)`` actions that would keep the robot where it is."""
        return self.state if self.hold is None else self.hold

    def task_at(self, frame: int) -> str:
        """What the robot is told at a frame."""
        return self.tasks[frame] if self.tasks else self.caption

    def kind_at(self, frame: int) -> str:
        """The kind of event that a frame is in; empty where events are unknown."""
        return self.kind or next((kind for start, end, kind in self.spans if start <= frame < end), "")


def with_hold(events: Iterable[EventRows], embodiment: Embodiment | None) -> list[EventRows]:
    """The events with their `EventRows.hold`.

    Args:
        events: Events.
        embodiment: What their actions are; None where the data have no state to compare them with.
    """
    return [replace(event, hold=_hold(event, embodiment)) for event in events]


def _hold(event: EventRows, embodiment: Embodiment | None) -> np.ndarray:
    """Actions ``(L, D)`` that would stay at each frame: the last command where the state does not tell."""
    last = np.concatenate([event.action[:1], event.action[:-1]])
    if embodiment is None:
        return last
    rest = embodiment.rest(event.state)
    return np.where(np.isfinite(rest), rest, last)


def hold_pose(stay: np.ndarray, horizon: int) -> np.ndarray:
    """Actions ``(H, D)`` that repeat the one ``(D,)`` that stays."""
    return np.repeat(stay[None], horizon, axis=0)


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
        """Actions ``(H, D)`` from where ``state`` ``(D,)`` would stay, ``offset`` frames into an event of ``length`` frames.

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
        actions, states = [event.action for event in events], [event.stay for event in events]
        self.step_action, self.step_state = (_mean_by_step(rows, longest) for rows in (actions, states))
        moves = [e.action[t:] - e.stay[t] for e in events for t in range(len(e.action))]
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
