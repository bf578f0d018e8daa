# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What moves the shafts: simple motion computed here, or a simulated world in another process."""

from __future__ import annotations

import time
from typing import Protocol

from emulated_arm.arms import Travel
from emulated_arm.servo import Servo, move
from emulated_arm.shared import SharedState
from emulated_arm.xseries import CURRENT_POSITION

# Our choice: a lockstep world that needs longer than this for one control period is taken for dead.
WORLD_TIMEOUT = 10.0


class Mechanics(Protocol):
    """Moves the servos' shafts."""

    def advance(self, seconds: float, hand: dict[int, float]) -> None:
        """Lets time pass.

        Args:
            seconds: How much, since the last call.
            hand: Where a person holds joints, shaft ticks by place; only limp joints give way.
        """

    def settle(self) -> None:
        """Waits until what was asked for so far has happened."""


def gives_way(servo: Servo) -> bool:
    """Whether a person can move the joint: it is limp, or its force is limited as in a Koch leader's gripper."""
    return servo.target is None or (
        servo.model.startswith("xl") and servo.get("Operating_Mode") == CURRENT_POSITION
    )


class FirstOrderMechanics:
    """Every joint by itself, after its goal with a first-order lag and a speed limit.

    Args:
        servos, travels: The arm's, in order.
        state: Where the positions are published.
    """

    def __init__(self, servos: list[Servo], travels: list[Travel], state: SharedState) -> None:
        self._servos, self._travels, self._state = servos, travels, state
        for servo, travel in zip(servos, travels, strict=True):
            servo.stops = travel.stops

    def advance(self, seconds: float, hand: dict[int, float]) -> None:
        for index, servo in enumerate(self._servos):
            held = hand.get(index)
            if held is not None and gives_way(servo):
                servo.speed = (held - servo.shaft) / seconds if seconds > 0 else 0.0
                servo.shaft = held
            else:
                move(servo, seconds)
        self._state.position[:] = [
            travel.to_units(servo.shaft) for servo, travel in zip(self._servos, self._travels, strict=True)
        ]

    def settle(self) -> None:
        """Nothing is ever outstanding."""


class RemoteMechanics:
    """Joints that live in a simulated world in another process.

    The servos' goals go there as they are; speed limits and gains are the world's.

    Args:
        servos, travels: The arm's, in order.
        state: Shared with the world.
    """

    def __init__(self, servos: list[Servo], travels: list[Travel], state: SharedState) -> None:
        self._servos, self._travels, self._state = servos, travels, state

    def advance(self, seconds: float, hand: dict[int, float]) -> None:
        state = self._state
        for index, (servo, travel) in enumerate(zip(self._servos, self._travels, strict=True)):
            shaft = travel.to_shaft(float(state.position[index]))
            if seconds > 0:
                servo.speed = (shaft - servo.shaft) / seconds
            servo.shaft = shaft
            held = hand.get(index)
            aim = held if held is not None and gives_way(servo) else servo.target
            servo.pushing = 0.0 if servo.target is None else servo.target - shaft
            if aim is not None:
                state.goal[index] = travel.to_units(aim)
            state.driven[index] = int(aim is not None)

    def settle(self) -> None:
        deadline = time.monotonic() + WORLD_TIMEOUT
        while self._state.get("world_step") < self._state.get("goal_step"):
            if time.monotonic() > deadline:
                raise TimeoutError("the simulated world does not answer")
            time.sleep(0.0002)
