# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Rollouts of one robot whose plans are made while it carries out the last one, so that it always has something to do.

A plan starts from the observation of its tick, and when it is there the arm is some ticks further: so many of its actions
have passed and are left out, and the seam leads over. Both rollouts here take plans in by `LookAhead.adopt`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import torch
from lerobot.utils.constants import OBS_STATE
from torch import Tensor

from lerobot_wallwm.policies.acting.event_cursor import EventCursor
from lerobot_wallwm.policies.acting.rollout import Rollout
from lerobot_wallwm.policies.acting.seams import MOST_BRAKE
from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
from lerobot_wallwm.policies.model.sampling import Plan
from lerobot_wallwm.policies.planning.choice import frame_limit

# Looks whose longest duration is expected of the next one. Our choice.
_REMEMBERED = 8
# Seconds between two answers without a plan: the RTC engine asks again at once, and would take the whole core for it.
_IDLE_S = 0.02


class LookAhead(Rollout):
    """What the two have in common."""

    flag = ""

    @property
    def cursor(self) -> EventCursor:
        """The robot's place in its plan."""
        return self.robots[0].cursor

    def adopt(self, plan: Plan, place: int, caption: str, passed: int, began: float, keep: int = 1) -> None:
        """Takes a plan in.

        Args:
            plan: Of one or more events of this robot.
            place: Which of them.
            caption: Of that event.
            passed: Ticks since the observation that it was made from.
            began: Time when it was begun, for the diary.
            keep: As in `EventCursor.accept`.
        """
        robot, remaining = self.robots[0], float(plan.remaining[place])
        limit = frame_limit(self.config, caption)
        ways, length = self.ways(plan)[place], int(plan.length[place])
        robot.cursor.accept(plan.actions[place], length, remaining, limit, passed, keep, ways)
        queue = robot.cursor.queue
        if queue:
            fresh = robot.path.follow(torch.stack(list(queue)))
            queue.clear()
            queue.extend(fresh)
        seconds = round(time.perf_counter() - began, 4)
        self.report(robot.cursor, caption, remaining, delay=passed, seconds=seconds)

    def require_one_robot(self, batch: dict[str, Any]) -> None:
        """Raises ValueError for a batch of several."""
        if len(batch[OBS_STATE]) != 1:
            raise ValueError(
                f"{self.flag} drives one robot, got {len(batch[OBS_STATE])}. Fix: leave it out in a simulator, which waits."
            )


# ---------------------------------------------------------------------- a thread of our own


class BackgroundWorker:
    """Computes one plan at a time on a thread of its own, which ends with the process.

    Python runs one thread at a time, and PyTorch lets go of that lock inside its operators only. How many threads those use
    belongs to the process: the recipes start LeRobot with ``OMP_NUM_THREADS=1``, so that the loop never waits for a core.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "wallwm-inference")
        self._job: Future[Plan] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> BackgroundWorker:
        """A copy of a policy works on a thread of its own."""
        return BackgroundWorker()

    @property
    def busy(self) -> bool:
        """Whether a plan was not taken yet."""
        return self._job is not None

    def submit(self, job: Callable[[], Plan]) -> None:
        """Starts a plan."""
        assert self._job is None, "one plan at a time"
        self._job = self._pool.submit(job)

    def take(self) -> Plan | None:
        """The plan, once it is there; raises what went wrong with it."""
        if self._job is None or not self._job.done():
            return None
        job, self._job = self._job, None
        return job.result()

    def drop(self) -> None:
        """Waits for a plan in flight and forgets it: for a reset, never within a tick."""
        if self._job is not None:
            wait([self._job])
            self._job = None


@dataclass(frozen=True)
class _InFlight:
    """What a plan is made for: captions and numbers of the events, and the robot's epoch and actions so far."""

    tick: int
    began: float
    captions: list[str]
    events: list[int]
    epoch: int
    executed: int


class BackgroundRollout(LookAhead):
    """Plans on a thread of its own (``--policy.background_inference=true``): no tick waits for one but the first.

    The queue holds all that is left of the event, not only the steps to the next look. In an event's last ticks each look
    serves two captions: the event's own, which may take back that it ends, and the next event's, so that its plan is there
    when it begins.

    Args:
        *args: As for `Rollout`.
        worker: Computes plans.

    Attributes:
        late: Ticks in which a plan was due and not there.
    """

    flag = "--policy.background_inference=true"

    def __init__(self, *args: Any, worker: BackgroundWorker | None = None):
        super().__init__(*args)
        self.worker = worker or BackgroundWorker()
        self.late = 0
        self._flight: _InFlight | None = None
        self._ready: tuple[Plan, int, _InFlight] | None = None  # the plan of an event to come, and its place
        self._seen: int | None = None  # tick of the observation behind the plan at hand
        self._delays: deque[int] = deque([1], _REMEMBERED)
        self._late_since: int | None = None

    @property
    def lead(self) -> int:
        """Ticks before need at which a look must start."""
        return max(self._delays) + 1

    def replan(self, batch: dict[str, Any]) -> None:
        """Takes a plan that is there, begins an event that is due, and starts the next look."""
        self.require_one_robot(batch)
        plan = self.worker.take()
        if plan is not None:
            self._arrive(plan)
        self._begin_event()
        since = 0 if self._seen is None else self.tick - self._seen
        due = self.cursor.replan_due(self.lead, since, self._ready is not None)
        if due is not None and not self.worker.busy:
            self._start(batch, *due)
        self._count_late(due is not None)

    def close(self) -> None:
        """Waits for a look in flight and forgets it."""
        self.worker.drop()

    def _start(self, batch: dict[str, Any], caption: str, new: bool) -> None:
        cursor, captions, coming = self.cursor, [caption], [new]
        if new and cursor.caption is not None and cursor.looks_again and not self.config.chunked:
            captions, coming = [caption, cursor.caption], [True, False]
        events = [cursor.number + is_new for is_new in coming]
        self._flight = _InFlight(
            self.tick, time.perf_counter(), captions, events, cursor.epoch, cursor.executed
        )
        job = self.job(batch, [0] * len(captions), captions, coming)
        if self.tick == 0:  # the arm rests, and has nothing to do meanwhile
            self._arrive(job())
            self._begin_event()
        else:
            self.worker.submit(job)

    def _begin_event(self) -> None:
        """Begins the event whose plan is there, where the one before is over."""
        if self._ready is None:
            return
        plan, place, flight = self._ready
        if self.cursor.epoch != flight.epoch or not self.cursor.leaving:
            self._ready = None
        elif not self.cursor.queue:
            self._ready = None
            self.cursor.current_event()
            self._adopt(plan, place, flight)

    def _arrive(self, plan: Plan) -> None:
        flight, self._flight = self._flight, None
        assert flight is not None
        self._delays.append(self.tick - flight.tick)
        # The event at hand first: what is seen of it may take back that it ends, and with it the next event's plan.
        for place in sorted(range(len(flight.events)), key=lambda place: flight.events[place]):
            cursor, number = self.cursor, flight.events[place]
            if cursor.epoch != flight.epoch:
                cursor.write("stale", caption=flight.captions[place])
            elif number == cursor.number:
                self._adopt(plan, place, flight)
            elif number > cursor.number and cursor.leaving:
                self._ready = plan, place, flight

    def _adopt(self, plan: Plan, place: int, flight: _InFlight) -> None:
        self._seen = flight.tick
        passed = self.cursor.executed - flight.executed
        self.adopt(plan, place, flight.captions[place], passed, flight.began, self.lead + 1)

    def _count_late(self, due: bool) -> None:
        """A robot that holds although its next caption is known waits for a look."""
        if not self.cursor.queue and (due or self._flight is not None):
            self.late += 1
            self._late_since = self.tick if self._late_since is None else self._late_since
        elif self._late_since is not None:
            self.cursor.write("late", frames=self.tick - self._late_since)
            self._late_since = None


# ---------------------------------------------------------------------- LeRobot's RTC engine


class RealtimeRollout(LookAhead):
    """Answers LeRobot's RTC engine (``--inference.type=rtc``), which has the queue and the thread.

    The engine asks for a chunk from the newest observation while the arm carries out the last chunk, and tells what is left
    of that and how many ticks the answer will take. The answer begins with what will be carried out anyway and passes from
    there into the new plan, and then to rest. It always has `answer_length` actions. No guidance inside the denoising
    (RTC's own) is used: our choice, see seams.py.
    """

    flag = "--inference.type=rtc"

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.answer: Tensor | None = None  # the last one (T, A), as the engine has it
        self._planned = 0  # actions of it that belong to the event; the rest brakes
        self._told: list[Tensor] = []  # the last two commands that were carried out

    def chunk(self, batch: dict[str, Any], delay: int, left_over: Tensor | None) -> Tensor:
        """The next chunk ``(1, T, A)``.

        Args:
            batch: The newest observation, of one robot.
            delay: Ticks until the answer will be carried out.
            left_over: What is left of the last answer, as the engine has it: cut, or padded.

        Raises:
            ValueError: As `Rollout.event`, or there are several robots.
        """
        self.require_trained_actions()
        self.require_one_robot(batch)
        self.images.present(batch)
        done = self._done(left_over)
        self.tick += done
        if self.robots and self.answer is not None:
            self.cursor.queue = deque(self.answer[done : self._planned])
        elif self.robots:
            self.cursor.drop_queue()
        self.reconcile(batch)
        self._remember(done)
        self.observe(0, batch[OBS_STATE][0], max(done, 1))
        left = self.answer[done:] if self.answer is not None else None
        # What the arm will be told before the answer is there.
        rest = [] if left is None else list(left[: min(delay, self.config.horizon - 1)])
        path, before = self.robots[0].path, [*self._told, *rest][-2:]
        path.move_to(*before)
        self.cursor.pass_over(len(rest))
        plan = self._plan(batch, len(rest))
        if plan:
            way = [*rest, *plan]
            self._planned = len(way)
            way += path.stop(*[*self._told, *way][-2:])
        elif self._planned == 0 and left is not None and len(left):
            way = list(left)  # the last answer came to rest already
        else:
            way = [*rest, *path.stop(*before)]
            self._planned = 0
        way += way[-1:] * (answer_length(self.config) - len(way))
        self.answer = torch.stack(way)
        if not plan:
            time.sleep(_IDLE_S)
        return self.answer[None].clone()

    def _done(self, left_over: Tensor | None) -> int:
        """Actions of the last answer that were carried out: the engine's rest is found in it."""
        if self.answer is None or left_over is None:
            self.answer = None  # the engine's queue was emptied
            return 0
        if len(left_over) == 0 or not bool(left_over.any()):
            return len(self.answer)
        same = (self.answer == left_over[0].to(self.answer)).all(dim=1).nonzero().flatten()
        return int(same[0]) if len(same) else len(self.answer)

    def _remember(self, done: int) -> None:
        """Brings the command path up to what was carried out."""
        path = self.robots[0].path
        assert path.last is not None
        self._told = self._told or [path.last, path.last]
        if self.answer is not None:
            self._told = [*self._told, *self.answer[:done]][-2:]
            if done == len(self.answer):
                self._told = [self._told[-1]] * 2  # the queue ran dry: the arm stays there
        path.move_to(*self._told)

    def _plan(self, batch: dict[str, Any], passed: int) -> list[Tensor]:
        """The actions of the event that will be on when the answer is carried out; none to hold."""
        cursor = self.cursor
        if self.robots[0].stopped:
            self.robots[0].stopped = False
            return []
        for _ in range(2):  # the event at hand may turn out to be over
            over = cursor.leaving and not cursor.queue
            caption = cursor.current_event() if over or cursor.paused else cursor.caption
            if caption is None:
                break
            began = time.perf_counter()
            plan = self.job(batch, [0], [caption])()
            self.adopt(plan, 0, caption, min(passed, int(plan.length[0]) - 1), began)
            if cursor.queue:
                break
        return list(cursor.queue)


def answer_length(config: WallwmConfig) -> int:
    """Actions of each answer to the RTC engine: a plan and the way to rest at its end."""
    return config.horizon + MOST_BRAKE
