# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Looks taken beside the control loop, so that the arm always has something to do while the next plan is computed.

The queue holds all that is left of the event, not only the steps to the next look. A look starts from the observation of
its tick, and when it is done the arm is some ticks further: so many of its actions have passed and are left out, and the
seam leads over. In an event's last ticks each look serves two captions: the event's own, which may take back that it ends,
and the next event's, so that its plan is there when it begins.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from lerobot_wallwm.policies.model.sampling import Plan
from lerobot_wallwm.policies.planning.choice import frame_limit

if TYPE_CHECKING:
    from lerobot_wallwm.policies.acting.robots import PlanJob
    from lerobot_wallwm.policies.acting.rollout import Rollout

# Looks whose longest duration is expected of the next one. Our choice.
_REMEMBERED = 8


class Worker(Protocol):
    """Computes one job at a time elsewhere (`background.BackgroundWorker`)."""

    @property
    def busy(self) -> bool:
        """Whether a result was not taken yet."""

    def submit(self, job: PlanJob) -> None:
        """Starts a job."""

    def take(self) -> Plan | None:
        """The result, once it is there."""

    def drop(self) -> None:
        """Forgets the job."""


@dataclass(frozen=True)
class _Look:
    """What a plan was made for: robots, their captions, epochs and actions so far, and the numbers of the events."""

    tick: int
    began: float
    rows: list[int]
    captions: list[str]
    epochs: list[int]
    executed: list[int]
    events: list[int]


@dataclass(frozen=True)
class _Ready:
    """The plan of an event to come, and its place in a look."""

    plan: Plan
    place: int
    look: _Look


class LookAhead:
    """Keeps the queues filled.

    Args:
        rollout: Whose robots.
        worker: Computes plans.

    Attributes:
        late: Ticks, over all robots, in which a plan was due and not there.
    """

    def __init__(self, rollout: Rollout, worker: Worker):
        self.rollout, self.worker = rollout, worker
        self.late = 0
        self._look: _Look | None = None
        self._ready: dict[int, _Ready] = {}
        self._seen: dict[int, int] = {}  # tick of the observation behind each robot's plan
        self._delays: deque[int] = deque([1], _REMEMBERED)
        self._late_since: dict[int, int] = {}

    @property
    def lead(self) -> int:
        """Ticks before need at which a look must start."""
        return max(self._delays) + 1

    def advance(self, batch: dict[str, Any]) -> None:
        """One tick: takes a plan that is there, begins events that are due, and starts the next look."""
        plan = self.worker.take()
        if plan is not None:
            self._arrive(plan)
        self._begin_events()
        cursors, tick = self.rollout.cursors, self.rollout.tick
        due: dict[int, tuple[str, bool]] = {}
        for row, cursor in enumerate(cursors):
            look = cursor.look_due(self.lead, tick - self._seen.get(row, tick), row in self._ready)
            if look is not None:
                due[row] = look
        if due and not self.worker.busy:
            self._start(batch, due)
        self._count_late(due)

    def close(self) -> None:
        """Waits for a look in flight and forgets it."""
        self.worker.drop()
        self._look = None

    def _start(self, batch: dict[str, Any], due: dict[int, tuple[str, bool]]) -> None:
        rollout, rows = self.rollout, list(due)
        captions, coming = [caption for caption, _ in due.values()], [new for _, new in due.values()]
        for row, (_, new) in due.items():
            cursor = rollout.cursors[row]
            now = cursor.caption
            if new and now is not None and cursor.looks_again and not rollout.config.chunked:
                rows, captions, coming = [*rows, row], [*captions, now], [*coming, False]
        cursors = [rollout.cursors[row] for row in rows]
        epochs, executed = [c.epoch for c in cursors], [c.executed for c in cursors]
        events = [c.number + new for c, new in zip(cursors, coming, strict=True)]
        self._look = _Look(rollout.tick, time.perf_counter(), rows, captions, epochs, executed, events)
        part = rollout.rows_of(batch, rows)
        job = rollout.job(part, rows, captions, rollout.chunk_of_rows(batch, rows), coming)
        if rollout.tick == 0:  # the arm rests, and has nothing to do meanwhile
            self._arrive(job())
            self._begin_events()
        else:
            self.worker.submit(job)

    def _begin_events(self) -> None:
        """Begins the events whose plans are there, where the one before is over."""
        cursors = self.rollout.cursors
        for row, ready in list(self._ready.items()):
            if cursors[row].epoch != ready.look.epochs[ready.place] or not cursors[row].leaving:
                del self._ready[row]
            elif not cursors[row].queue:
                del self._ready[row]
                cursors[row].current_event()
                self._adopt(row, ready.plan, ready.place, ready.look)

    def _arrive(self, plan: Plan) -> None:
        look, self._look = self._look, None
        assert look is not None
        self._delays.append(self.rollout.tick - look.tick)
        # Events at hand first: what is seen of them may take back that they end, and with it the next event's plan.
        for place in sorted(range(len(look.rows)), key=lambda place: look.events[place]):
            row = look.rows[place]
            cursor = self.rollout.cursors[row]
            void = cursor.epoch != look.epochs[place] or look.events[place] < cursor.number
            if not void and look.events[place] == cursor.number:
                self._adopt(row, plan, place, look)
            elif not void and cursor.leaving:
                self._ready[row] = _Ready(plan, place, look)
            elif cursor.epoch != look.epochs[place]:
                cursor.write("stale", caption=look.captions[place])

    def _adopt(self, row: int, plan: Plan, place: int, look: _Look) -> None:
        rollout, cursor = self.rollout, self.rollout.cursors[row]
        passed = cursor.executed - look.executed[place]
        self._seen[row] = look.tick
        length, remaining = int(plan.length[place]), float(plan.remaining[place])
        caption = look.captions[place]
        limit = frame_limit(rollout.config, caption)
        cursor.accept_whole(plan.actions[place], length, remaining, limit, passed, self.lead + 1)
        if cursor.queue:
            fresh = rollout.paths[row].follow(torch.stack(list(cursor.queue)))
            cursor.queue.clear()
            cursor.queue.extend(fresh)
        seconds = round(time.perf_counter() - look.began, 4)
        rollout.report(cursor, caption, remaining, delay=passed, seconds=seconds)

    def _count_late(self, due: dict[int, tuple[str, bool]]) -> None:
        """A robot that holds although its next caption is known waits for a look."""
        rollout = self.rollout
        for row, cursor in enumerate(rollout.cursors):
            waits = not cursor.queue and (row in due or (self._look is not None and row in self._look.rows))
            if waits:
                self.late += 1
                self._late_since.setdefault(row, rollout.tick)
            elif row in self._late_since:
                began = self._late_since.pop(row)
                cursor.write("late", frames=rollout.tick - began)
