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

    Args:
        holds: By caption template, how far each action dimension stays from its command ``(A,)``; see `learn_holds`.
        follows: ``(A,)`` the state's dimensions that measure them.
        patience: Ticks that an empty gripper must last within an event before it counts.
    """

    def __init__(self, holds: Mapping[str, Sequence[float]], follows: Sequence[int], patience: int):
        self.holds, self.follows, self.patience = holds, follows, patience
        self.clear()

    def clear(self) -> None:
        """Nothing is known of what the grippers hold."""
        self._caption: str | None = None
        self._held: set[int] = set()
        self._empty: dict[int, int] = {}

    def see(self, caption: str, over: bool, state_P: Tensor, command_A: Tensor, ticks: int = 1) -> list[int]:
        """One observation.

        Args:
            caption: The event at hand.
            over: Whether it ends here.
            state_P, command_A: Where the joints are and what the arm was told before that, in the dataset's units.
            ticks: Since the last observation.

        Returns:
            Action dimensions of grippers that should hold something and do not: at the event's end, or for some time
            after they did.
        """
        if caption != self._caption:
            self._caption = caption
            self._away = next((away for t, away in self.holds.items() if matches(t, caption)), ())
            self._held &= {d for d, away in enumerate(self._away) if away}
        lost = []
        for d, away in enumerate(self._away):
            if not away:
                continue
            gap = float(state_P[self.follows[d]] - command_A[d])
            holds = gap / away >= 1
            self._empty[d] = 0 if holds else self._empty.get(d, 0) + ticks
            if holds:
                self._held.add(d)
            elif over or (d in self._held and self._empty[d] >= self.patience):
                lost.append(d)
        return lost
