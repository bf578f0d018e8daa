# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Whether an arm has come to where its event ends.

The goal head says where that is, the remaining time when. Time alone misleads an arm that acts: it stays at a few ticks
long after the arm has come to rest, and is up before an arm that lags has arrived; one centimetre above a cube, say, where
the fingers then close on nothing. Not in the paper: our choice, measured in docs/results/sight.md.
"""

from __future__ import annotations

import math


class Arrival:
    """Of one event: the arm has arrived when another look brings its commands no nearer to the goal.

    Where a goal is a little off, or the arm is kept from it, commands settle beside it; so what counts is that they settle.

    Args:
        apart: Ticks that must lie between two looks that are compared.
    """

    # The way to the goal shrinks by less than this from one look to the next, or is so short in goal units; an arm that
    # sets off does not move yet, so the predicted time may be no longer than so many looks. Our choice.
    SHRINKS, SHORT, LOOKS = 0.7, 0.05, 2.0
    # Looks closer than this, in seconds, are not compared: within a tick or two every way seems to stay what it is.
    CLOSE = 0.2

    def __init__(self, apart: int):
        self.apart = apart
        self._way, self._tick = math.inf, -math.inf

    def look(self, ways: list[float], tick: int, remaining: float) -> bool:
        """Takes in a plan; whether the event is over once the actions up to the next look are done.

        Args:
            ways: How far each action is from the pose at the event's end, in goal units.
            tick: Of the event, at which the plan begins.
            remaining: Predicted ticks from there to the event's end.
        """
        steps = min(self.apart, len(ways))
        if tick < self._tick:
            return False
        before, self._way, self._tick = self._way, ways[steps - 1], tick + steps
        rests = self._way > self.SHRINKS * before or self._way < self.SHORT
        return rests and remaining <= self.LOOKS * self.apart
