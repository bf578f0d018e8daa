# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Did it happen? A gripper that holds nothing where the demonstrations held something.

A gripper that is closed on an object stays away from where it was told to go; one that is closed on nothing arrives. How far
away it stays tells one from the other, on any arm whose gripper is told a position and reports one; the data tell how far
(`batches.grips.learn_holds`). The paper says nothing of failed events; our choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from lerobot_wallwm.language.event_grammar import matches


class Grip:
    """What one robot's grippers should hold, and whether they do.

    The event that closes a gripper is not judged: it may be left while the gripper still closes. Those after it are.

    Args:
        holds: By caption template, how far each action dimension stays from its command ``(A,)``; see `learn_holds`.
        follows: ``(A,)`` the state's dimensions that measure them.
        patience: Ticks that a gripper must be empty in a row before it counts.
    """

    def __init__(self, holds: Mapping[str, Sequence[float]], follows: Sequence[int], patience: int):
        self.holds, self.follows, self.patience = holds, follows, patience
        self.clear()

    def clear(self) -> None:
        """Nothing is known of what the grippers hold."""
        self._caption: str | None = None
        self._away: dict[int, float] = {}
        self._closed: set[int] = set()
        self._ticks: dict[int, int] = {}  # so many in a row full, below zero empty

    def see(self, caption: str, state_P: Tensor, command_A: Tensor, ticks: int = 1) -> list[int]:
        """One observation.

        Args:
            caption: The event at hand.
            state_P, command_A: Where the joints are and what the arm was told before that, in the dataset's units.
            ticks: Since the last observation.

        Returns:
            Action dimensions of grippers that should hold something and do not.
        """
        if caption != self._caption:
            away = next((away for t, away in self.holds.items() if matches(t, caption)), ())
            self._closed = set(self._away)
            self._caption, self._away = caption, {d: value for d, value in enumerate(away) if value}
        for d, far in self._away.items():
            full = float(state_P[self.follows[d]] - command_A[d]) / far >= 1
            before = self._ticks.get(d, 0)
            self._ticks[d] = max(before, 0) + ticks if full else min(before, 0) - ticks
            if self._ticks[d] >= self.patience:
                self._closed.add(d)
        return [d for d in self._away if d in self._closed and self._ticks[d] <= -self.patience]
