# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Two baselines for open-loop action error: stay, and the mean action sequence of the caption.

What staying is depends on what an action is (`embodiment`): the observed pose where the action is a position, zero where it
is a velocity or a step.

Shapes: L frames of an event, H horizon, D dimensions of an action, S of a state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lerobot_wallwm.embodiment.description import Embodiment


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
    """What the training events of a caption did on average: from where the robot is, the mean displacement k steps later.

    It knows what the policy knows without looking, the caption and the pose.
    """

    def __init__(self, events: Iterable[EventRows]):
        groups: dict[str, list[EventRows]] = defaultdict(list)
        for event in events:
            groups[event.caption].append(event)
            groups[f"template: {event.template}"].append(event)
        if not groups:
            raise ValueError("the training view holds no events. Fix: run `wallwm prepare` again")
        self._moves = {key: _mean_move(group) for key, group in groups.items()}

    def predict(self, caption: str, template: str, stay: np.ndarray, horizon: int) -> np.ndarray:
        """Actions ``(H, D)`` from where ``stay`` ``(D,)`` would stay; the template serves where training lacks the caption."""
        move = self._moves.get(caption)
        move = self._moves.get(f"template: {template}") if move is None else move
        if move is None:
            return hold_pose(stay, horizon)
        return stay + move[np.minimum(np.arange(horizon), len(move) - 1)]


def _mean_move(events: Sequence[EventRows]) -> np.ndarray:
    """Mean over the moments from which the events still last so long, ``(longest, D)``."""
    longest = max(len(event.action) for event in events)
    total, count = np.zeros((longest, events[0].action.shape[1])), np.zeros((longest, 1))
    for event in events:
        for t in range(len(event.action)):
            total[: len(event.action) - t] += event.action[t:] - event.stay[t]
            count[: len(event.action) - t] += 1
    return total / count
