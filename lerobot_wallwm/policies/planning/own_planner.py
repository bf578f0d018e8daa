# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The checkpoint's own language half chooses the events (paper p. 21): it looks at the result of each before the next.

It chooses among captions that the checkpoint was trained on, filled with the instruction's words, so that nothing invented
reaches the arm. Where an event has ended it is asked what comes after it, and whether anything does; what happens now it
reads from pictures and pose. So a grasp that failed can lead back to the reach.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor

from lerobot_wallwm.policies.planning.planners import GrammarPlanner, Planner

# Events of a plan that would run in circles; our choice.
MOST_EVENTS = 64


class Speaker(Protocol):
    """The language half before one observation."""

    def __call__(
        self,
        pictures: dict[str, Tensor],
        state_P: Tensor,
        instruction: str,
        captions: Sequence[str],
        after: str,
    ) -> tuple[list[float], list[float]]:
        """Log-likelihoods of each caption to be what happens now, and, after an event (empty at the start), of each and of
        the plan's end to come next."""
        ...


class OwnPlanner(Planner):
    """Asks the language half at each event's end. One question takes about as long as one look.

    Args:
        speaker: Of the model.
        grammar: What the checkpoint knows of events, which it chooses among; None if it knows none.
        log: Called with a kind and facts: `said`.

    Raises:
        ValueError: There is no grammar.
    """

    source = "own"
    wants_pictures = True

    def __init__(self, speaker: Speaker, grammar: GrammarPlanner | None, log: Callable[..., None]):
        if grammar is None:
            raise ValueError(
                "--policy.planner=own chooses among the events that the checkpoint was trained on, and it was trained on none. "
                "Fix: train on a view written by `wallwm prepare`, or choose --policy.planner=instruction"
            )
        self.speaker, self.grammar, self.log = speaker, grammar, log
        self._seen: tuple[dict[str, Tensor], Tensor] | None = None
        self.begin("")

    def begin(self, instruction: str) -> None:
        """Starts over with a new instruction."""
        assert self.grammar is not None
        self.instruction, self.caption, self.count = instruction, "", 0
        self.grammar.begin(instruction)
        self.captions = self.grammar.captions()

    def see(self, pictures: dict[str, Tensor], state_P: Tensor, tick: int) -> None:
        """Keeps what is seen now."""
        self._seen = pictures, state_P

    def next(self) -> str | None:
        """The likeliest event now; None where the plan's end is likelier than any event after the last one."""
        if self._seen is None or self.count >= MOST_EVENTS:
            return None
        now, following = self.speaker(*self._seen, self.instruction, self.captions, self.caption)
        facts: dict[str, Any] = {"after": self.caption}
        if following and following[-1] >= max(following[:-1]):
            self.log("said", now=None, **facts)
            return None
        self.caption = self.captions[max(range(len(now)), key=now.__getitem__)]
        self.log("said", now=self.caption, **facts)
        self.count += 1
        assert self.grammar is not None
        self.grammar.did(self.caption)
        return self.caption

    def peek(self) -> str | None:
        """What the grammar expects: the language half waits for the result."""
        return self._expected()
