# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Where one rollout stands: the current event, its queued actions, and when to leave it."""

from __future__ import annotations

from collections import deque

from torch import Tensor

from .planners import Planner


class EventCursor:
    """Walks one robot (or one environment of a batch) through the events of its plan.

    Args:
        planner: Proposes captions.
        replan_steps: Actions executed before the next look; 0 runs an event open loop.
        end_threshold: Predicted remaining frames at which an event counts as done.
        repeat: Start the plan over when it is done.
    """

    def __init__(self, planner: Planner, replan_steps: int, end_threshold: float, repeat: bool):
        self.planner = planner
        self.replan_steps, self.end_threshold, self.repeat = replan_steps, end_threshold, repeat
        self.queue: deque[Tensor] = deque()
        self.instruction: str | None = None
        self.caption: str | None = None
        self.frames_in_event = 0
        self.leaving = True
        self.is_new_event = False

    def observe(self, instruction: str) -> None:
        """Called every tick; a changed instruction drops the queue and starts a new plan."""
        if instruction == self.instruction:
            return
        self.instruction = instruction
        self.planner.begin(instruction)
        self.queue.clear()
        self.caption, self.leaving = None, True

    def current_event(self) -> str | None:
        """The caption to act on now; asks the planner when the last event is over. None: the plan is done."""
        if self.leaving:
            caption = self.planner.next()
            if caption is None and self.repeat:
                self.planner.begin(self.instruction or "")
                caption = self.planner.next()
            self.caption, self.frames_in_event = caption, 0
            self.leaving, self.is_new_event = caption is None, True
        return self.caption

    def forget(self) -> None:
        """Drops the queued actions without having run them; the event is not over."""
        if self.queue:
            self.frames_in_event -= len(self.queue)
            self.leaving = False
            self.queue.clear()

    def accept(self, actions_HA: Tensor, length: int, remaining: float, limit: float) -> None:
        """Queues the actions to run before the next look and decides whether the event ends with them.

        Args:
            actions_HA: Predicted actions.
            length: How many of them lie inside the event.
            remaining: Predicted frames to the event's end.
            limit: Longest stay in this event, in frames.
        """
        run = length if self.replan_steps == 0 else min(self.replan_steps, length)
        run = max(1, min(run, int(limit) - self.frames_in_event))
        self.queue.extend(actions_HA[:run])
        self.frames_in_event += run
        self.is_new_event = False
        self.leaving = remaining - run < self.end_threshold or self.frames_in_event >= limit
