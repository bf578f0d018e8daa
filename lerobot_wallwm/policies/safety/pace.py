# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Whether the control loop runs at the rate of the training data.

LeRobot 0.6.1 does not tell a policy its ``--fps``. At another rate motions come out faster or slower than the data's, and steps
too large or too small, so the clock between two ticks is watched.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from lerobot_wallwm.policies.safety.interventions import SafetyError

# Our choices: ticks (RTC engine: seconds) that are judged together; the interval's part of the data's from which it is too
# short, or too long; and how even intervals are, as a part of their median, where a loop waits and does not just lag.
TICKS, SECONDS = 10, 1.5
FAST, SLOW, EVEN = 0.85, 1.2, 0.04


class Pace:
    """Judges the time between ticks.

    Args:
        fps: Rate of the data; None judges nothing.

    Attributes:
        slow: A sentence where the loop lags, as an uneven loop does; empty otherwise.
    """

    def __init__(self, fps: float | None):
        self.fps = fps
        self.reset()

    def reset(self) -> None:
        """A new rollout."""
        self._ticks: deque[float] = deque(maxlen=TICKS + 1)
        self._counted: deque[tuple[float, int]] = deque()
        self._first = True
        self.slow = ""

    def tick(self, now: float) -> None:
        """One tick, at this time in seconds.

        Raises:
            SafetyError: The loop is set to another rate.
        """
        if self.fps is None:
            return
        if self._first:  # the first inference warms up
            self._first = False
            return
        self._ticks.append(now)
        if len(self._ticks) <= TICKS:
            return
        between = np.diff(self._ticks)
        low, middle, high = np.quantile(between, (0.25, 0.5, 0.75)) * self.fps
        if middle < FAST or (middle > SLOW and high - low < EVEN * middle):
            raise self._refused(self.fps / middle)
        self.slow = ""
        if middle > SLOW:
            self.slow = f"the loop runs at {self.fps / middle:.1f} Hz, the data at {self.fps:g}: motions come out slower"

    def answer(self, now: float, done: int) -> None:
        """The RTC engine asks, having carried out so many actions since the rollout began.

        Raises:
            SafetyError: It carries them out faster than the data's rate.
        """
        self._counted.append((now, done))
        while len(self._counted) > 2 and now - self._counted[1][0] >= SECONDS:
            self._counted.popleft()
        since, before = self._counted[0]
        if self.fps is None or now - since < SECONDS:
            return
        rate = (done - before) / (now - since)
        if rate > self.fps / FAST:
            raise self._refused(rate)

    def _refused(self, rate: float) -> SafetyError:
        assert self.fps is not None
        return SafetyError(
            f"The loop runs at {rate:.0f} Hz, and this checkpoint has learned from data of {self.fps:g} Hz: motions would come "
            f"out {rate / self.fps:.2f} times as fast. Fix: --fps={self.fps:g}"
        )
