# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The guards between a policy and an arm.

They stand where the policy hands out actions, because LeRobot's postprocessor sees neither the observation nor the
policy's flags, and keeps the limits of the old dataset on fine-tuning. Goals are judged in the robot's units and go on,
normalised, to the postprocessor, whose own steps are the last line of defence (`processor_wallwm`).

A simulator waits for the policy and may render a still scene without noise, so that the clock and equal pictures prove
nothing there. Time is counted in ticks then, and what the guards of observations find is counted but changes nothing.
The guards of goals work everywhere.

Shapes: B robots, T ticks, A action dims, P proprioception dims.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lerobot_wallwm.embodiment.description import widest_alike
from lerobot_wallwm.policies.batches.action_space import ActionSpace
from lerobot_wallwm.policies.batches.observation import Observation
from lerobot_wallwm.policies.planning.choice import needs_task
from lerobot_wallwm.policies.safety.arm_check import differences, start_room, unknown_cameras
from lerobot_wallwm.policies.safety.goal_guard import GoalGuard, MotionLimits
from lerobot_wallwm.policies.safety.interventions import MAX_BAD_GOALS, Interventions, SafetyError
from lerobot_wallwm.policies.safety.observation_watch import Fault, ObservationWatch
from lerobot_wallwm.policies.safety.pace import Pace

if TYPE_CHECKING:
    from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig

logger = logging.getLogger(__name__)

STATE = "observation.state"
# Late inferences in a row after which the run ends: our choice.
MAX_LATE = 3
# What a tensor from here carries, for the postprocessor. It does not survive an operation: then nothing is trusted.
MARK = "wallwm_within_limits"


class Guards:
    """One object per policy, with a row per robot. A tick goes through `before`, the policy, and `after`.

    Args:
        config: The policy's configuration.
        action_space: Knows the range of the actions; read at the first action, when a checkpoint has been loaded.
        cameras: The checkpoint's cameras and their shapes.
    """

    def __init__(self, config: WallwmConfig, action_space: ActionSpace, cameras: dict[str, tuple[int, ...]]):
        self.config, self.action_space, self.cameras = config, action_space, cameras
        self.clock = time.monotonic
        self.diary = Interventions(config.safety_log)
        self._goals: GoalGuard | None = None
        self._watch: ObservationWatch | None = None
        self._checked = False
        self.reset()

    def reset(self) -> None:
        """A new rollout. Counts go on."""
        if self._goals is not None:
            self._goals.reset()
        if self._watch is not None:
            self._watch.reset()
        self.pace = Pace(self.config.learned.fps)
        self._ticks = self._late = 0
        self._warmed_up = False
        self._left: float | None = None
        self._held_since: dict[int, float] = {}
        self._void: set[int] = set()
        self._sent: Tensor | None = None

    @property
    def on_arm(self) -> bool:
        """Whether a real clock runs and an arm may come to harm (`--policy.guards`)."""
        return self.config.drives_an_arm

    @property
    def timed(self) -> bool:
        """Whether somebody keeps a rate: lerobot-rollout, or who says that this is an arm. A loop in Python may not."""
        return self.config.guards == "arm" or (self.on_arm and self.config.compile_model is not None)

    def before(self, batch: dict[str, Any]) -> Observation:
        """The first half of a tick: what the policy may make of this observation.

        Raises:
            SafetyError: The arm is not the checkpoint's, or its cameras or joints have been broken for too long.
        """
        state, pose, now = self._observe(batch)
        limit = self.config.watchdog_s
        if self.timed:
            self.pace.tick(now)
            if self.pace.slow:
                self.diary.add("slow_loop", detail=self.pace.slow)
        if self.on_arm and self._left is not None and 0 < limit < now - self._left:
            self.diary.add("late_call", detail=f"{now - self._left:.2f} s since the last action")
            self.goals.reanchor(pose, list(range(len(pose))))
            self._void.update(range(len(pose)))
        held = self._hold_for(self.watch.look(batch, state, self.goals.last, now), now, len(pose))
        self._seen = batch[STATE], pose, held, now
        void, self._void = frozenset(self._void), set()
        return Observation(batch, held, void, self._sent)

    def after(self, actions: Tensor | None) -> Tensor:
        """The second half: what the arms are told.

        Args:
            actions: Normalised actions ``(B, A)`` for the last observation; None where all robots are held.

        Returns:
            Normalised actions ``(B, A)`` that are safe to unnormalise.

        Raises:
            SafetyError: Going on would be unsafe.
        """
        state, pose, held, before = self._seen
        if actions is not None and self._was_slow(before):
            held = np.ones(len(pose), bool)
        asked = pose if actions is None else self._to_robot(actions)
        sent = self.goals.tick(asked, pose, held)
        self._void.update(np.flatnonzero(held | (self.goals.bad > 0)).tolist())  # these look again
        self._ticks += 1
        self._left = self._now()
        if actions is None:
            self._sent = None
            return _mark(self._to_policy(sent).to(state.device))
        self._sent = self._changed(actions, asked, sent)
        return _mark(self._sent.clone())

    @torch.compiler.disable  # `predict_action_chunk` is compiled by LeRobot where asked to
    def chunk(self, batch: dict[str, Any], actions_BTA: Tensor, done: int | None = None) -> Tensor:
        """A chunk of ticks, normalised ``(B, T, A)``; see `GoalGuard.chunk`.

        ``done``: actions that the RTC engine has carried out since the rollout began; None for others.

        Raises:
            SafetyError: As `before` and `after`.
        """
        if not self.on_arm:
            pose = self.action_space.what.rest(_numbers(batch[STATE]))
            held = np.zeros(len(pose), bool)
        else:
            state, pose, now = self._observe(batch)
            if done is not None and self.timed:
                self.pace.answer(now, done)
            held = self._hold_for(self.watch.look(batch, state, None, now), now, len(pose))
            self._ticks += 1
        asked = self._to_robot(actions_BTA)
        wanted = np.where(held[:, None, None], pose[:, None], asked)
        return _mark(self._changed(actions_BTA, asked, self.goals.chunk(wanted, pose)).clone())

    # ------------------------------------------------------------------ parts

    @property
    def goals(self) -> GoalGuard:
        """Made at the first action.

        Raises:
            SafetyError: The checkpoint's range of actions is not finite.
        """
        if self._goals is None:
            config = self.config
            low, high = (_numbers(t) for t in (self.action_space.range_low, self.action_space.range_high))
            if not (np.isfinite(low).all() and np.isfinite(high).all()):
                raise SafetyError(
                    "The checkpoint's range of actions (action_space.range_low, range_high) is not finite. Fix: use a "
                    "sound checkpoint."
                )
            room = config.action_clamp_margin * (high - low) / 2
            limits = MotionLimits.build(
                low - room,
                high + room,
                config.learned.motion_limits,
                config.rate_limit,
                self.action_space.what,
            )
            if len(config.learned.motion_limits.get("step", ())) != len(low):
                logger.warning(
                    "This checkpoint knows no motion limits (it was trained without a dataset's files): goals are kept to "
                    "the data's range, but neither their rate nor the arm's first pose is checked. Fix: train it with "
                    "lerobot-train on a dataset that lies on this machine."
                )
            self._goals = GoalGuard(limits, MAX_BAD_GOALS, self.diary)
        return self._goals

    @property
    def watch(self) -> ObservationWatch:
        """Made at the first action."""
        if self._watch is None:
            low, high = self._state_range()
            names = self._state_names()
            span: np.ndarray = np.full(len(names), np.inf)
            if low is not None and high is not None:
                span = high - low
                # A joint that the data hardly moves says nothing about pictures.
                span = np.where(span > 0.1 * widest_alike(span, self.action_space.what.state), span, np.inf)
            limits = self.goals.limits
            self._watch = ObservationWatch(list(self.cameras), span, limits.reach, names)
        return self._watch

    def _observe(self, batch: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, float]:
        """State ``(B, P)`` and pose ``(B, A)``, once the arm is known to be the right one, and the time."""
        self.diary.ticks += 1
        state = _numbers(batch[STATE])
        if not self._checked:
            self._check_arm(batch, state)
            self._checked = True
        return state, self.action_space.what.rest(state), self._now()

    def _check_arm(self, batch: dict[str, Any], state: np.ndarray) -> None:
        config = self.config
        if self.on_arm and needs_task(config) and not all(map(str.strip, tasks_of(batch))):
            raise SafetyError(
                f"--policy.planner={config.planner} makes its events from the task, and there is none: nothing was sent to "
                'the arm. Fix: --task="pick up the red cube", in words as in training, or --policy.planner=script with '
                "--policy.script=[...]"
            )
        low, high = self._state_range()
        room = None
        if low is not None and high is not None and config.start_margin > 0:
            room = start_room(self.action_space.what, low, high, config.start_margin)
        found = differences(
            batch, self.cameras, config.allow_missing_cameras, state, self._state_names(), low, high, room
        )
        if unknown := unknown_cameras(batch, self.cameras):
            logger.warning("The checkpoint does not know, and will not use, %s.", ", ".join(unknown))
        if not found:
            return
        text = "; ".join(found)
        if self.on_arm or state.shape[1] != len(self.action_space.what.state):
            raise SafetyError(
                f"This is not the arm that the checkpoint knows, and nothing was sent to it: {text}. Fix: as said there, "
                f"or --policy.start_margin={2 * config.start_margin:g} if the poses are meant."
            )
        self.diary.add("other_arm", detail=text)

    def _hold_for(self, faults: list[Fault], now: float, rows: int) -> np.ndarray:
        """Which rows are held ``(B,)`` for what is wrong with their observations.

        Raises:
            SafetyError: For longer than `camera_timeout_s`.
        """
        held = np.zeros(rows, bool)
        watched = self.config.camera_timeout_s > 0
        for fault in faults:
            if fault.kind != "bad_state" and not watched:
                continue
            self.diary.add(fault.kind, fault.row, detail=fault.detail)
            if fault.kind == "bad_state" or self.on_arm:
                held[fault.row] = True
                since = self._held_since.setdefault(fault.row, now)
                patience = self.config.camera_timeout_s or 2.0
                if self.on_arm and now - since > patience:
                    raise SafetyError(
                        f"The arm has been held for {now - since:.1f} s because {fault.detail}. Fix: look at the camera "
                        "and its cable, or the arm's; --policy.camera_timeout_s sets the patience, 0 stops watching cameras."
                    )
        for row in np.flatnonzero(~held):
            self._held_since.pop(int(row), None)
        return held

    def _was_slow(self, before: float) -> bool:
        """Whether the plan was made from an observation that is stale by now.

        Raises:
            SafetyError: Again and again.
        """
        took = self._now() - before
        first, self._warmed_up = not self._warmed_up, True
        if not (self.on_arm and 0 < self.config.watchdog_s < took):
            self._late = 0
            return False
        # The first inference compiles, allocates and encodes the captions; the arm waits for it where it stands.
        self._late += not first
        self.diary.add("late_inference", detail=f"the policy took {took:.2f} s; held, and looking again")
        if self._late >= MAX_LATE:
            raise SafetyError(
                f"{MAX_LATE} inferences in a row took longer than --policy.watchdog_s={self.config.watchdog_s:g} (the last "
                f"{took:.2f} s), so that every plan was made for a scene that is gone. Fix: fewer "
                "--policy.num_inference_steps, a faster machine, or a larger --policy.watchdog_s if nothing else moves."
            )
        return True

    def _now(self) -> float:
        return self.clock() if self.on_arm else self._ticks / (self.config.learned.fps or 30.0)

    def _state_names(self) -> list[str]:
        return [
            f"joint {d + 1}" if dim.name.isdecimal() else dim.label
            for d, dim in enumerate(self.action_space.what.state)
        ]

    def _state_range(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        learned, count = self.config.learned.motion_limits, len(self.action_space.what.state)
        low, high = (np.asarray(learned.get(key, ()), float) for key in ("state_low", "state_high"))
        return (low, high) if len(low) == len(high) == count else (None, None)

    def _half(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = (_numbers(t) for t in (self.action_space.range_low, self.action_space.range_high))
        return low, np.maximum((high - low) / 2, 1e-8)

    def _to_robot(self, normalized: Tensor) -> np.ndarray:
        low, half = self._half()
        return (_numbers(normalized) + 1) * half + low

    def _to_policy(self, robot: np.ndarray) -> Tensor:
        low, half = self._half()
        return torch.from_numpy((robot - low) / half - 1).float()

    def _changed(self, actions: Tensor, asked: np.ndarray, sent: np.ndarray) -> Tensor:
        """The actions themselves, bit for bit, but where a guard changed them."""
        different = ~(asked == sent)  # true for NaN
        if not different.any():
            return actions
        new = self._to_policy(sent).to(actions)
        return torch.where(torch.from_numpy(different).to(actions.device), new, actions)


def tasks_of(batch: dict[str, Any]) -> list[str]:
    """What each robot is told; nothing where the batch has no task."""
    task = batch.get("task", "")
    return [str(task)] if isinstance(task, str) else [str(text) for text in task]


def _mark(actions: Tensor) -> Tensor:
    setattr(actions, MARK, True)
    return actions


def _numbers(values: Tensor) -> np.ndarray:
    return values.detach().cpu().double().numpy()
