# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Events for LeRobot's RTC engine (`lerobot-rollout --inference.type=rtc`), which has the queue and the thread.

The engine asks for a chunk from the newest observation while the arm carries out the last chunk, and tells what is left of
that and how many ticks the answer will take. Here the same cursor as in `select_action` decides which event that is, and
the chunk begins with what is left, for as long as it will be carried out anyway, and passes from there into the new plan.
No guidance inside the denoising (RTC's own) is used: our choice, see seams.py.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import torch
from lerobot.utils.constants import OBS_STATE
from torch import Tensor

from lerobot_wallwm.policies.planning.choice import frame_limit

if TYPE_CHECKING:
    from lerobot_wallwm.policies.acting.rollout import Rollout

# Seconds between two answers without a plan: the engine asks again at once, and would take the whole core for it.
_IDLE_S = 0.02


class RealtimeChunks:
    """One robot's events, chunk by chunk.

    Args:
        rollout: Its place in the events, and the model.
    """

    def __init__(self, rollout: Rollout):
        self.rollout = rollout
        self.chunk: Tensor | None = None  # the last answer (T, A)
        self._events = 0  # actions of the last answer that belong to the event, the rest brakes
        self._told: list[Tensor] = []  # the last two commands that were carried out

    def __call__(self, batch: dict[str, Any], delay: int, left_over: Tensor | None) -> Tensor:
        """The next chunk ``(1, T, A)``.

        Args:
            batch: The newest observation, of one robot.
            delay: Ticks until the answer will be carried out.
            left_over: What is left of the last answer, as the engine has it: cut, or padded with zeros.

        Raises:
            ValueError: As `Rollout.event`, or there are several robots.
        """
        rollout = self.rollout
        rollout.require_trained_actions()
        if len(batch[OBS_STATE]) != 1:
            raise ValueError(f"--inference.type=rtc drives one robot, got {len(batch[OBS_STATE])}.")
        rollout.images.present(batch)
        done = self._done(left_over)
        rollout.tick += done
        rollout.reconcile(batch)
        self._remember(done)
        cursor = rollout.cursors[0]
        cursor.carried_out(min(done, self._events))
        rollout.observe(0, batch[OBS_STATE][0], max(done, 1))
        left = self.chunk[done:] if self.chunk is not None else None
        plan = self._plan(batch, delay)
        chunk = self._hold(left, delay) if plan is None else self._lead_over(plan, left, delay)
        self.chunk = chunk
        if plan is None:
            time.sleep(_IDLE_S)
        return chunk[None].clone()

    def _done(self, left_over: Tensor | None) -> int:
        """Actions of the last answer that were carried out: the engine's rest is found in it."""
        if self.chunk is None or left_over is None:
            self.chunk = None  # the engine's queue was emptied
            return 0
        if len(left_over) == 0 or not bool(left_over.any()):
            return len(self.chunk)
        same = (self.chunk == left_over[0].to(self.chunk)).all(dim=1).nonzero().flatten()
        return int(same[0]) if len(same) else len(self.chunk)

    def _remember(self, done: int) -> None:
        """Brings the command path up to what was carried out."""
        path = self.rollout.paths[0]
        assert path.last is not None
        if not self._told:
            self._told = [path.last, path.last]
        if self.chunk is not None:
            self._told = [*self._told, *self.chunk[:done]][-2:]
            if done == len(self.chunk):
                self._told = [self._told[-1]] * 2  # the queue ran dry: the arm stays there
        path.move_to(*self._told)

    def _plan(self, batch: dict[str, Any], delay: int) -> Tensor | None:
        """The plan ``(L, A)`` of the event that will be on when the answer is carried out; None to hold."""
        rollout, cursor = self.rollout, self.rollout.cursors[0]
        for attempt in range(2):  # the event at hand may turn out to be over
            caption = cursor.current_event()
            if caption is None:
                return None
            fresh = cursor.is_new_event
            began = time.perf_counter()
            plan = rollout.job(rollout.rows_of(batch, [0]), [0], [caption], None)()
            length, remaining = int(plan.length[0]), float(plan.remaining[0])
            over = cursor.consider(remaining, delay, frame_limit(rollout.config, caption))
            if over and not fresh and attempt == 0:
                continue
            self._events = length
            seconds = round(time.perf_counter() - began, 4)
            rollout.report(cursor, caption, remaining, delay=delay, seconds=seconds)
            return plan.actions[0, :length]
        return None

    def _lead_over(self, plan_LA: Tensor, left: Tensor | None, delay: int) -> Tensor:
        """What is left for the ticks that the answer takes, then the plan, then a way to rest at its end."""
        path = self.rollout.paths[0]
        rest = left[:delay] if left is not None else None
        if rest is not None and len(rest):
            passed = min(len(rest), len(plan_LA) - 1)
            path.move_to(*[*self._told, *rest[:passed]][-2:])
            plan = torch.cat((rest[:passed], path.follow(plan_LA[passed:])))
        else:
            plan = path.follow(plan_LA)
        before = plan[-2] if len(plan) > 1 else path.last
        assert before is not None
        return torch.cat((plan, path.stop(before, plan[-1])))

    def _hold(self, left: Tensor | None, delay: int) -> Tensor:
        """Comes to rest from where the arm will be, and stays for a horizon."""
        path, horizon = self.rollout.paths[0], self.rollout.config.horizon
        begun = self._events == 0 and left is not None and len(left) > 0
        self._events = 0
        if begun:  # the last answer was such a way already
            assert left is not None
            way = left
        else:
            rest = list(left[:delay]) if left is not None else []
            before, last = [*self._told, *rest][-2:]
            way = torch.stack([*rest, *path.stop(before, last)])
        return torch.cat((way, way[-1:].expand(max(1, horizon - len(way)), -1)))


class RealtimePolicy:
    """What a policy keeps for the RTC engine: the chunks, and a lock between the engine's thread and a reset."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.chunks: RealtimeChunks | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> RealtimePolicy:
        """A copy of a policy starts anew."""
        return RealtimePolicy()
