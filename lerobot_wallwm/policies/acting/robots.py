# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a rollout knows of each robot: its place in the plan, its way, its past, and whether it stalls."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from lerobot_wallwm.policies.acting.event_cursor import EventCursor
from lerobot_wallwm.policies.acting.grip import Grip
from lerobot_wallwm.policies.acting.seams import CommandPath
from lerobot_wallwm.policies.batches.chunk_reader import ChunkHistory
from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
from lerobot_wallwm.policies.planning.choice import frames_per_second, make_planner
from lerobot_wallwm.policies.planning.own_planner import Speaker
from lerobot_wallwm.policies.planning.planners import InstructionPlanner
from lerobot_wallwm.storage.line_log import LineLog

# An event is left once this many predicted frames remain (our choice).
END_THRESHOLD = 1.5
# Movement within a stall's window that is still noise, as a share of the distance that counts as away. Servos read back
# with about 0.1 degree; a tenth of 5 degrees leaves room for vibration. Our choice.
NOISE_SHARE = 0.1


@dataclass
class Robot:
    """One robot of a rollout, or one environment of a batch."""

    cursor: EventCursor
    path: CommandPath
    stalls: StallDetector
    grip: Grip
    history: ChunkHistory
    stopped: bool = False  # for this tick, by a stall


def new_cursor(
    config: WallwmConfig, log: LineLog, robot: int = 0, speaker: Speaker | None = None
) -> EventCursor:
    """A robot's place before its first event.

    Raises:
        ValueError: ``script`` holds a caption that the checkpoint does not know, or there is no grammar to follow.
    """
    steps = config.chunk_length if config.chunked else config.replan_steps
    repeat, fps = config.on_plan_end == "repeat", frames_per_second(config)
    cursor = EventCursor(InstructionPlanner(), steps, END_THRESHOLD, repeat, fps, log, robot)
    cursor.planner = make_planner(config, cursor.write, speaker)
    return cursor


class StallDetector:
    """Tells when an arm does not move although it is asked to. The paper says nothing of stalls; our choice.

    A joint stalls when, over a whole window of ticks, its goal stays away from it and it does not move beyond noise. A
    gripper never counts: closed on an object it is held off its goal, and that is its work.

    Args:
        window: Ticks that a stall must last; 0 watches nothing.
        joints: ``(J,)`` action dimensions that count.
        measured: ``(J,)`` the state's dimensions that measure them.
        distance: ``(J,)`` how far a goal must be away, in the dataset's units.
    """

    def __init__(self, window: int, joints: Tensor, measured: Tensor, distance: Tensor):
        self.window = window
        self.joints: list[int] = joints.tolist()
        self.measured: list[int] = measured.tolist()
        self.distance = distance
        self._seen: deque[tuple[Tensor, Tensor]] = deque()
        self._ticks: deque[int] = deque()

    def clear(self) -> None:
        """Forgets the window: after a new plan for a new event, or once a stall was handled."""
        self._seen.clear()
        self._ticks.clear()

    def add(self, state_P: Tensor, goal_A: Tensor, ticks: int = 1) -> list[int]:
        """One observation.

        Args:
            state_P: Joint positions now.
            goal_A: What the arm was told last, before this observation, in the same units.
            ticks: Ticks since the last observation.

        Returns:
            Joints that have stalled for the whole window; empty most of the time.
        """
        if self.window < 1 or not self.joints:
            return []
        at = state_P[self.measured].cpu()
        self._seen.append((at, goal_A[self.joints].cpu() - at))
        self._ticks.append(ticks)
        while len(self._ticks) > 2 and sum(list(self._ticks)[2:]) >= self.window:
            self._seen.popleft()
            self._ticks.popleft()
        if sum(list(self._ticks)[1:]) < self.window:
            return []
        states, ways = (torch.stack(part) for part in zip(*self._seen, strict=True))
        still = states.amax(0) - states.amin(0) <= NOISE_SHARE * self.distance
        # Away to one side all the time: a goal that swings round the joint asks for nothing.
        away = (ways.amin(0) >= self.distance) | (ways.amax(0) <= -self.distance)
        return [joint for joint, stuck in zip(self.joints, (still & away).tolist(), strict=True) if stuck]
