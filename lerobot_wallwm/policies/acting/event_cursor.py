# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Where one rollout stands: the current event, its queued actions, and when to leave it."""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import Any

from torch import Tensor

from lerobot_wallwm.policies.acting.arrival import Arrival
from lerobot_wallwm.policies.acting.seams import seconds_to_frames
from lerobot_wallwm.policies.planning.planners import Planner
from lerobot_wallwm.storage.line_log import LineLog

# An event to come: its caption, and its frames where the plan gives it a duration.
Coming = tuple[str, int | None]


class EventCursor:
    """Walks one robot (or one environment of a batch) through the events of its plan.

    Args:
        planner: Proposes captions.
        replan_steps: Actions executed before the next look; 0 runs an event open loop.
        end_threshold: Predicted remaining frames at which an event counts as done where no goal tells.
        repeat: Start the plan over when it is done.
        fps: Ticks a second, for events whose duration the plan gives in seconds.
        log: The rollout's diary.
        robot: Which robot of the batch this is, for the diary.

    Attributes:
        queue: Actions to come.
        frames_in_event: Frames of the event at hand once the queue has run dry.
        leaving: Whether the event is over then.
        is_new_event: Whether no plan was accepted for it yet.
        epoch: Counts what throws a plan over; a plan made for an earlier epoch is void.
        number: Counts events.
        executed: Actions taken from the queue since the rollout began.
        paused: A person holds the arm within the event at hand.
    """

    def __init__(
        self,
        planner: Planner,
        replan_steps: int,
        end_threshold: float,
        repeat: bool,
        fps: float = 30.0,
        log: LineLog | None = None,
        robot: int = 0,
    ):
        self.planner = planner
        self.replan_steps, self.end_threshold, self.repeat = replan_steps, end_threshold, repeat
        self.fps, self.log, self.robot = fps, log or LineLog(), robot
        self.queue: deque[Tensor] = deque()
        self.instruction: str | None = None
        self.caption: str | None = None
        self.frames_in_event = 0
        self.leaving = True
        self.is_new_event = False
        self.epoch = 0
        self.number = 0
        self.executed = 0
        self.paused = False
        self.retries = 0
        self.failures: Counter[str] = Counter()  # of the plan at hand, by caption
        self.tick = 0
        self._frames: int | None = None  # what the plan says this event takes
        self._why = ""
        self._coming: Coming | None = None  # asked for ahead of time
        self._idle = False
        self._arrival = self._new_arrival()

    def _new_arrival(self) -> Arrival:
        return Arrival(max(self.replan_steps, seconds_to_frames(Arrival.CLOSE, self.fps)))

    def write(self, kind: str, **facts: Any) -> None:
        """A line of the diary."""
        self.log.write(kind, self.tick, self.robot, **facts)

    # --- every tick

    def follow_instruction(self, instruction: str) -> None:
        """A changed instruction drops the queue and starts a new plan."""
        if instruction == self.instruction:
            return
        if self.instruction is not None:
            self._end("instruction")
        self.instruction = instruction
        self.write("instruction", text=instruction, planner=self.planner.source)
        self.planner.begin(instruction)
        self.failures.clear()
        self.drop_queue()
        self.caption, self.leaving, self.paused, self._coming = None, True, False, None

    def take_order(self) -> None:
        """Does what somebody wants of the running event at once."""
        order = self.planner.order()
        if order is None:
            return
        self.drop_queue()
        if order == "hold":
            self.paused = True
        elif order == "go":
            self.paused = False
        else:
            self._end("person" if self.planner.source == "human" else "replan")
            self.paused, self.leaving, self._coming = False, True, None

    def pop(self) -> Tensor:
        """The next queued action, which the arm is told now."""
        self.executed += 1
        return self.queue.popleft()

    def pass_over(self, ticks: int) -> None:
        """So many ticks pass, with actions from the queue as far as it has any."""
        taken = min(ticks, len(self.queue))
        self.queue = deque(list(self.queue)[taken:])
        if not self.leaving:
            self.frames_in_event += ticks - taken

    def drop_queue(self) -> None:
        """Forgets the actions to come: the next tick looks again, within the same event."""
        self._clear()
        self.epoch += 1

    def void_queue(self) -> None:
        """The same for actions that must not be carried out: the event does not end with them."""
        if self.queue:
            self.leaving = False
        self.drop_queue()

    def _clear(self) -> None:
        self.frames_in_event -= len(self.queue)
        self.queue.clear()

    # --- events

    def current_event(self) -> str | None:
        """The caption to act on now; asks the planner when the last event is over. None: hold."""
        if self.paused:
            return None
        if self.leaving:
            coming, self._coming = self._coming or self._ask(), None
            self._enter(coming)
        return self.caption

    def replan_due(self, lead: int, since: int, ready: bool) -> tuple[str, bool] | None:
        """What a look taken now, ahead of need, would serve: a caption, and whether its event is still to come.

        Args:
            lead: Ticks that a look takes.
            since: Ticks since the observation of the plan at hand.
            ready: Whether the next event's plan is there.

        Returns:
            None while no look is due.
        """
        if self.paused:
            return None
        left = len(self.queue)
        # In an event's last ticks each look is followed by another, so that the last one is as fresh as can be.
        last_looks = self.leaving and left <= (2 * lead if self.looks_again else lead)
        if not last_looks:
            again = 0 < self.replan_steps <= since or (not self.leaving and left <= lead)
            return (self.caption, False) if self.caption is not None and again else None
        if ready and not self.looks_again:
            return None
        self._coming = self._coming or self._ask()
        if self._coming is None and not self.queue:
            self._enter(None)
        if self._coming is None:
            return (self.caption, False) if self.caption is not None and self.looks_again else None
        return self._coming[0], True

    @property
    def looks_again(self) -> bool:
        """Whether a look inside the event may still change when it ends."""
        return self.replan_steps > 0 and self._frames is None

    def skip_event(self, why: str) -> None:
        """Leaves the event now, whatever remains of it."""
        self.drop_queue()
        self.leaving, self._why = True, why

    def fail(self, empty: list[str], retries: int) -> None:
        """The event did not happen: the plan goes back to where it went for what these grippers should hold.

        After so many times the arm holds. A planner that decides for itself (a person, a VLM) goes on: it is in the diary.
        """
        assert self.caption is not None
        caption, self._coming = self.caption, None
        self.failures[caption] += 1
        tries, action = self.failures[caption], "go on"
        if self.planner.again(caption):
            action = "retry" if tries <= retries else "hold"
        self.write("failed", caption=caption, empty=empty, tries=tries, action=action)
        if action == "retry":
            self.skip_event("failed")
            self._end("failed")
        elif action == "hold":
            self.drop_queue()
            self.paused = True

    def _ask(self) -> Coming | None:
        caption = self.planner.next()
        if caption is None and self.repeat and not self.planner.waiting:
            self.failures.clear()
            self.planner.begin(self.instruction or "")
            caption = self.planner.next()
        if caption is None:
            return None
        seconds = self.planner.seconds
        return caption, None if seconds is None else seconds_to_frames(seconds, self.fps)

    def _enter(self, coming: Coming | None) -> None:
        self._end(self._why)
        self.number += 1
        self.caption, self._frames = coming or (None, None)
        self.frames_in_event, self.retries = 0, 0
        self.leaving, self.is_new_event = coming is None, True
        self._arrival = self._new_arrival()
        if coming is not None:
            self._idle = False
            duration = None if self._frames is None else self._frames / self.fps
            self.write("begin", caption=self.caption, planner=self.planner.source, seconds=duration)
        elif not self._idle:
            self._idle = True
            self.write("wait" if self.planner.waiting else "done", planner=self.planner.source)

    def _end(self, why: str) -> None:
        if self.caption is not None:
            self.write("end", caption=self.caption, why=why, frames=self.frames_in_event)
        self.caption = None

    # --- plans

    @property
    def frames_left(self) -> int | None:
        """What is left of the duration that the plan gives the event; None where it gives none."""
        if self._frames is None:
            return None
        return max(1, self._frames - self.frames_in_event + len(self.queue))

    def frames_of(self, coming: bool) -> int | None:
        """The same, or the whole duration of the event to come."""
        return self._coming[1] if coming and self._coming is not None else self.frames_left

    def accept(
        self,
        actions_HA: Tensor,
        length: int,
        remaining: float,
        limit: float,
        passed: int | None = None,
        keep: int = 1,
        ways: list[float] | None = None,
    ) -> None:
        """Queues a plan in place of what is queued, and decides whether the event ends with it.

        Args:
            actions_HA: Predicted actions from the observation on.
            length: How many of them lie inside the event.
            remaining: Predicted frames from the observation to the event's end.
            limit: Longest stay in this event, in frames.
            passed: Ticks that have passed since the observation; their actions are left out, and all others of the event
                are queued, because another look comes before they are used up. None: the arm has waited for this plan,
                and looks again when `replan_steps` of its actions are done.
            keep: Actions of a new event that are not left out, or of one that is over, so that the next look has its time.
            ways: How far each action is from where the event ends; None where that is not known.
        """
        self._clear()
        new, self.is_new_event = self.is_new_event, False
        if passed is None:
            run, passed = length if self.replan_steps == 0 else min(self.replan_steps, length), 0
        else:  # as far as the looks of an arm that waits would go
            last = math.floor(remaining - self.end_threshold) + 1 if math.isfinite(remaining) else length
            run = min(length, max(1, last))
        then, why = 0 if new else max(0, self.frames_in_event - passed), "limit"
        if self._frames is not None:
            remaining, limit, why = self._frames - then, self._frames, "duration"
        run = max(1, min(run, int(limit) - then))
        over, by = (
            remaining - run < self.end_threshold if self._frames is None else remaining <= run,
            "remaining",
        )
        if ways is not None and self.looks_again:
            arrived = self._arrival.look(ways[:length], then, remaining)
            if arrived or passed < run:  # a plan of which nothing is left to do cannot bring the arm nearer
                over, by = arrived, "arrived"
            run = min(run, max(self.replan_steps, passed + keep)) if over else run
        self.leaving = over or then + run >= limit
        self._why = by if over and self._frames is None else why
        if new:
            passed = min(passed, max(0, run - keep))
        self.queue.extend(actions_HA[passed:run])
        self.frames_in_event = then + passed + len(self.queue)
