# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Which event comes next: captions for event mode (paper p. 21).

`GrammarPlanner` learns from the carved dataset how events follow each other, with slots for the objects that the
instruction names, so that it serves an instruction it has not seen. `ScriptPlanner` follows a list.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Protocol

from lerobot_wallwm.processors.instruction import fill, parse_instruction

START, END = "<start>", "<end>"
_JOIN = " || "


class Planner(Protocol):
    """Proposes event captions for one rollout."""

    def begin(self, instruction: str) -> None:
        """Starts over with a new instruction."""

    def next(self) -> str | None:
        """The next event's caption, or None when the plan is done."""


class ScriptPlanner:
    """Follows a list of captions."""

    def __init__(self, captions: Sequence[str]):
        self.captions = list(captions)
        self.position = 0

    def begin(self, instruction: str) -> None:
        """Returns to the first caption; the instruction does not matter."""
        self.position = 0

    def next(self) -> str | None:
        """The next caption of the list."""
        if self.position >= len(self.captions):
            return None
        self.position += 1
        return self.captions[self.position - 1]


class InstructionPlanner:
    """One endless event: the instruction itself. For data that was not carved."""

    def __init__(self) -> None:
        self.instruction = ""

    def begin(self, instruction: str) -> None:
        """Remembers the instruction."""
        self.instruction = instruction

    def next(self) -> str | None:
        """The instruction, every time."""
        return self.instruction


ORDER = 12  # long enough to count the rounds of a task that repeats itself ("sort the three cups")


def learn_transitions(sequences: Iterable[Sequence[str]], order: int = ORDER) -> dict[str, dict[str, int]]:
    """Counts how event templates follow each other, for contexts of 1 to ``order`` events.

    Args:
        sequences: Templates of each source episode, in order.
        order: Longest context.

    Returns:
        ``{"a || b": {"c": count}}``; `START` pads the front, `END` closes each sequence.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for sequence in sequences:
        padded = [START] * order + list(sequence) + [END]
        for i in range(order, len(padded)):
            for n in range(1, order + 1):
                counts[_JOIN.join(padded[i - n : i])][padded[i]] += 1
    return {context: dict(nexts) for context, nexts in counts.items()}


class GrammarPlanner:
    """Follows the likeliest continuation of the events done so far, with the instruction's objects in the slots.

    Args:
        transitions: From `learn_transitions`.
        order: Longest context that they hold.
        max_events: Stops a plan that would run in circles.

    Raises:
        ValueError: ``transitions`` is empty.
    """

    def __init__(self, transitions: dict[str, dict[str, int]], order: int = ORDER, max_events: int = 64):
        if not transitions:
            raise ValueError(
                "The checkpoint holds no event grammar: train on a view written by `wallwm prepare`, or choose "
                "--policy.planner=script or --policy.planner=instruction."
            )
        self.transitions, self.order, self.max_events = transitions, order, max_events
        self.slots: dict[str, str] = {}
        self.done: list[str] = []

    def begin(self, instruction: str) -> None:
        """Parses the instruction's objects and starts over."""
        self.slots = parse_instruction(instruction)
        self.done = []

    def next(self) -> str | None:
        """The likeliest next event; ties go to the alphabetically first, so that a plan can be repeated."""
        if len(self.done) >= self.max_events:
            return None
        history = [START] * self.order + self.done
        for n in range(self.order, 0, -1):
            nexts = self.transitions.get(_JOIN.join(history[-n:]))
            if nexts:
                template = min(nexts, key=lambda option: (-nexts[option], option))
                if template == END:
                    return None
                self.done.append(template)
                return fill(template, self.slots)
        return None


def matches(template: str, caption: str) -> bool:
    """Whether a caption is an instance of a template with slots such as ``{object}``."""
    pattern = re.sub(r"\\\{\w+\\\}", "(.+)", re.escape(template))
    return re.fullmatch(pattern, caption, flags=re.IGNORECASE) is not None


def check_captions(captions: Iterable[str], templates: Sequence[str]) -> None:
    """Refuses captions that the checkpoint was never trained on.

    Raises:
        ValueError: Names the caption, and the ones that are known.
    """
    for caption in captions:
        if templates and not any(matches(template, caption) for template in templates):
            raise ValueError(
                f"--policy.script holds an unknown caption {caption!r}. This checkpoint knows: "
                + "; ".join(sorted(templates))
            )
