# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Which event comes next: captions for event mode (paper p. 21).

`GrammarPlanner` learns from the carved dataset how events follow each other, with slots for the objects that the
instruction names, so that it serves an instruction it has not seen. `ScriptPlanner` follows a list.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import ClassVar

from torch import Tensor

from lerobot_wallwm.language.event_grammar import _JOIN, END, ORDER, START, is_known, matches
from lerobot_wallwm.language.instruction import TASK, Instruction, fill, fills


class Planner:
    """Proposes event captions for one rollout. Nothing here may wait: every method is called within a tick.

    Attributes:
        source: Its name in the event log.
        seconds: How long the plan says that the event last given by `next` takes; None leaves it to the model.
        waiting: After `next` gave None: an event may still come, so the arm holds. Otherwise the plan is done.
        wants_pictures: Whether `see` is of use.
        grammar: What the checkpoint knows of events, for planners that others decide.
    """

    source: ClassVar[str] = ""
    seconds: float | None = None
    waiting: bool = False
    wants_pictures: ClassVar[bool] = False

    grammar: GrammarPlanner | None = None

    def _expected(self) -> str | None:
        return None if self.grammar is None else self.grammar.peek()

    def begin(self, instruction: str) -> None:
        """Starts over with a new instruction."""

    def next(self) -> str | None:
        """The next event's caption, or None where there is none (yet)."""
        return None

    def peek(self) -> str | None:
        """What `next` would give now, without going on."""
        return None

    def order(self) -> str | None:
        """What somebody wants of the running event at once: `switch` (to `next`), `hold`, `go`, `stop`, or None."""
        return None

    def see(self, pictures: dict[str, Tensor], state_P: Tensor, tick: int) -> None:
        """What the cameras show, ``(3, H, W)`` in [0, 1] each, and where the joints are."""

    def progress(self, caption: str, remaining: float) -> None:
        """After each look: the event at hand and the frames that it still takes."""

    def stalled(self, caption: str) -> None:
        """The arm does not move in this event."""

    def again(self, caption: str) -> bool:
        """This event failed, with nothing in the gripper: goes back so that `next` tries again. False: it cannot."""
        return False


class ScriptPlanner(Planner):
    """Follows a list of captions, each with its duration where the plan gives one; see `parse_line`."""

    source = "script"

    def __init__(self, lines: Sequence[str]):
        self.events = [parse_line(line) for line in lines]
        self.position = 0

    def begin(self, instruction: str) -> None:
        """Returns to the first caption; the instruction does not matter."""
        self.position = 0

    def next(self) -> str | None:
        """The next caption of the list."""
        caption = self.peek()
        if caption is not None:
            self.seconds = self.events[self.position][1]
            self.position += 1
        return caption

    def peek(self) -> str | None:
        """The caption that comes next."""
        return self.events[self.position][0] if self.position < len(self.events) else None

    def again(self, caption: str) -> bool:
        """Goes back to where the list goes for what this event is about."""
        captions = [event[0] for event in self.events[: self.position]]
        if caption not in captions:
            return False
        self.position = where_it_began(captions, len(captions) - 1 - captions[::-1].index(caption))
        return True


class InstructionPlanner(Planner):
    """One endless event: the instruction itself. For data that was not carved."""

    source = "instruction"

    instruction = ""

    def begin(self, instruction: str) -> None:
        """Remembers the instruction."""
        self.instruction = instruction

    def next(self) -> str | None:
        """The instruction, every time."""
        return self.instruction

    peek = next


class GrammarPlanner(Planner):
    """Follows the likeliest continuation of the events done so far, with the instruction's objects in the slots.

    Args:
        transitions: From `learn_transitions`.
        instructions: Slots of tasks whose sentence alone does not give them.
        max_events: Stops a plan that would run in circles.

    Raises:
        ValueError: ``transitions`` is empty.
    """

    source = "grammar"

    def __init__(
        self,
        transitions: dict[str, dict[str, int]],
        max_events: int = 64,
        instructions: Mapping[str, Mapping[str, str]] | None = None,
        holds: Container[str] = (),
    ):
        if not transitions:
            raise ValueError(
                "The checkpoint holds no event grammar: train on a view written by `wallwm prepare`, or choose "
                "--policy.planner=script or --policy.planner=instruction."
            )
        self.transitions, self.max_events = transitions, max_events
        self.instructions, self.holds = instructions or {}, holds
        self.instruction = ""
        self.slots: dict[str, str] = {}
        self.done: list[str] = []
        self._mend: str | None = None  # what demonstrators did after such a failure

    def begin(self, instruction: str) -> None:
        """Parses the instruction's objects and starts over."""
        self.instruction = instruction
        self.slots = dict(self.instructions.get(instruction) or Instruction.of(instruction).slots)
        self.done, self._mend = [], None

    def next(self) -> str | None:
        """The likeliest next event; ties go to the alphabetically first, so that a plan can be repeated."""
        template, self._mend = self._mend or self._likeliest(), None
        if template is not None:
            self.done.append(template)
        return template and self._filled(template)

    def peek(self) -> str | None:
        """The likeliest next event."""
        template = self._mend or self._likeliest()
        return template and self._filled(template)

    def again(self, caption: str) -> bool:
        """Goes on as demonstrators did who missed; where none did, from where the plan goes for what this event is about."""
        places = [i for i, template in enumerate(self.done) if self._filled(template) == caption]
        if not places:
            return False
        closing = places[-1]
        while closing and self.done[closing - 1] in self.holds:
            closing -= 1
        done, self.done = self.done, self.done[: closing + 1]
        nexts = self._nexts()
        empty = {t: n for t, n in nexts.items() if t not in self.holds and t != END}
        if empty and len(empty) < len(nexts):
            self._mend = min(empty, key=lambda t: (-empty[t], t))
        else:
            self.done = done[: where_it_began(done, places[-1])]
        return True

    def captions(self) -> list[str]:
        """All known events that suit the instruction."""
        known = sorted({t for nexts in self.transitions.values() for t in nexts if t != END})
        return [self._filled(t) for t in known if self._suits(t)] or [self._filled(t) for t in known]

    def _filled(self, template: str) -> str:
        return fill(template, {TASK: self.instruction} | self.slots)

    def _suits(self, template: str) -> bool:
        """Whether the instruction has all that a template names; one that is kept whole, or not, wants such templates."""
        whole = TASK in self.slots
        plain = "{" not in template or template == END
        return plain or (fills(template, self.slots) and whole == ("{task}" in template))

    def did(self, caption: str) -> None:
        """Counts an event that somebody else chose as done, so that `next` goes on from there."""
        known = sorted({t for nexts in self.transitions.values() for t in nexts if t != END})
        self.done += [t for t in known if matches(t, caption)][:1]

    def _likeliest(self) -> str | None:
        nexts = self._nexts() if len(self.done) < self.max_events else {}
        template = min(nexts, key=lambda option: (-nexts[option], option)) if nexts else END
        return None if template == END else template

    def _nexts(self) -> dict[str, int]:
        """What followed, and how often, the longest part of what was done that the data know."""
        history = [START] * ORDER + self.done
        for n in range(ORDER, 0, -1):
            nexts = self.transitions.get(_JOIN.join(history[-n:]))
            if nexts:
                return {option: n for option, n in nexts.items() if self._suits(option)} or nexts
        return {}


_ABOUT = re.compile(r"\{\w+\}|\w+")
_AFTER_OBJECT = re.compile(r"\b(?:to|onto|into|on|in|from)\b")


def where_it_began(captions: Sequence[str], failed: int) -> int:
    """The first of the events up to a failed one that are about the same thing: "reach for the cup" of "lift the cup"."""

    def about(caption: str) -> set[str]:
        said = _ABOUT.findall(_AFTER_OBJECT.split(caption)[0])[1:]  # without the verb
        return set(said) - {"the", "a", "an", "for"}

    thing = about(captions[failed])
    while failed and thing & about(captions[failed - 1]):
        failed -= 1
    return failed


_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:s|sec|seconds)?\s*")
LONGEST_EVENT_S = 600.0  # our choice: what takes longer than ten minutes is a typing error


def parse_line(line: str) -> tuple[str, float | None]:
    """A caption and the seconds that it shall take: "grasp the red cube | 2.0 s".

    Raises:
        ValueError: What follows the bar is no duration above 0 and up to `LONGEST_EVENT_S`.
    """
    caption, bar, duration = line.partition("|")
    if not bar:
        return line.strip(), None
    found = _DURATION.fullmatch(duration)
    if found is None or not 0 < float(found[1]) <= LONGEST_EVENT_S:
        raise ValueError(
            f"{line.strip()!r}: {duration.strip()!r} is no duration. Fix: caption | seconds, such as "
            f"'grasp the red cube | 2.0 s', above 0 and up to {LONGEST_EVENT_S:g}"
        )
    return caption.strip(), float(found[1])


def check_captions(captions: Iterable[str], templates: Sequence[str]) -> None:
    """Raises ValueError for a caption that the checkpoint was never trained on; names it, and those that are known."""
    for line in captions:
        caption = parse_line(line)[0]
        if not is_known(caption, templates):
            known = "; ".join(sorted(templates))
            raise ValueError(
                f"--policy.script holds an unknown caption {caption!r}. This checkpoint knows: {known}"
            )
