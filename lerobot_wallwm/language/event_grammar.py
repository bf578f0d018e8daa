# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How events follow each other: counts learned from captions."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

START, END = "<start>", "<end>"
# A pause of the person who demonstrated, and no step of a plan. A task that asks to wait says "wait".
PAUSE = "hold still"
_JOIN = " || "


ORDER = 12  # long enough to count the rounds of a task that repeats itself ("sort the three cups")


def learn_transitions(
    sequences: Iterable[Sequence[str | None]], order: int = ORDER
) -> dict[str, dict[str, int]]:
    """Counts how the event templates of each source episode follow each other, for contexts of 1 to ``order`` events.

    Returns ``{"a || b": {"c": count}}``; `START` pads the front, `END` closes each sequence. Pauses are left out. None stands for events that nobody
    knows: nothing is counted across it.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for sequence in sequences:
        padded: list[str | None] = [START] * order + without_pauses(sequence) + [END]
        for i, following in enumerate(padded[order:], order):
            context: list[str] = []
            for before in reversed(padded[i - order : i]):
                if before is None or following is None:
                    break
                context.insert(0, before)
                counts[_JOIN.join(context)][following] += 1
    return {context: dict(nexts) for context, nexts in counts.items()}


def without_pauses[T: (str, str | None)](sequence: Iterable[T]) -> list[T]:
    """The steps of a plan; two equal ones that a pause parted are one again."""
    steps: list[T] = []
    paused = False
    for caption in sequence:
        if caption != PAUSE and not (paused and steps[-1:] == [caption]):
            steps.append(caption)
        paused = caption == PAUSE
    return steps


def is_known(caption: str, templates: Sequence[str]) -> bool:
    """Whether a checkpoint was trained on such captions; one that knows no events cannot judge."""
    return not templates or any(matches(template, caption) for template in templates)


def matches(template: str, caption: str) -> bool:
    """Whether a caption is an instance of a template with slots such as ``{object}``."""
    pattern = re.sub(r"\\\{\w+\\\}", "(.+)", re.escape(template))
    return re.fullmatch(pattern, caption, flags=re.IGNORECASE) is not None
