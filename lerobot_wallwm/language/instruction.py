# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Slots of a manipulation instruction: which object, which target, and templates that they fill.

`parse_instruction("pick up the red cube and place it on the blue disc")` gives `{"object": "red cube", "target": "blue disc"}`.
Later steps of a sentence have numbers (`object2`, `target2`). The slot `task` is the whole sentence: captions of an instruction
that is not understood, or whose slots do not tell it from another's, hold it, so that no word is lost.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, RootModel

from lerobot_wallwm.language.lexicon import DETERMINERS
from lerobot_wallwm.language.reading import Step, read
from lerobot_wallwm.storage.errors import DataError
from lerobot_wallwm.storage.json_file import read_json_as

FALLBACK_OBJECT = "object"
TASK = "task"


@dataclass(frozen=True)
class Instruction:
    """How one task of a dataset is read.

    Attributes:
        text: The task.
        steps: In order; empty where it is not understood.
        problem: Why it is not understood.
        whole: Whether captions hold the whole sentence beside the slots.
        by_hand: Whether a person has set the steps.
    """

    text: str
    steps: tuple[Step, ...] = ()
    problem: str = ""
    whole: bool = False
    by_hand: bool = False

    @classmethod
    def of(cls, text: str) -> Instruction:
        """As the sentence alone is understood."""
        reading = read(str(text or ""))
        return cls(reading.text, reading.steps, reading.problem, whole=not reading.steps)

    @property
    def slots(self) -> dict[str, str]:
        """Values by slot: those of the steps, and `task` where captions hold the whole sentence."""
        values = {TASK: self.text} if self.whole else {}
        for number, step in enumerate(self.steps, 1):
            values[numbered("object", number)] = step.object
            if step.target:
                values[numbered("target", number)] = step.target
        return values

    @property
    def template(self) -> str:
        """The sentence with its slots; `{task}` alone where it is not understood."""
        return slot_template(self.text, self.slots) if self.steps else "{task}"


def numbered(slot: str, number: int) -> str:
    """The slot of the `number`-th step, counted from 1."""
    return slot if number == 1 else f"{slot}{number}"


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    object: str = Field(min_length=1)
    target: str = ""
    place: str = "on"


class _Corrections(RootModel[dict[str, list[_Given]]]):
    pass


def read_instruction_file(path: str | Path) -> dict[str, tuple[Step, ...]]:
    """The steps of tasks as a person set them: `{"task": [{"object": "red cube", "target": "disc", "place": "on"}]}`.

    Raises:
        DataError: The file is missing, is not JSON, or does not have that form.
    """
    form = 'write {"the task, word for word": [{"object": "red cube", "target": "black disc"}]}, one entry a step'
    found = read_json_as(path, _Corrections, form).root
    if empty := [task for task, steps in found.items() if not steps]:
        raise DataError(path, empty[0], "has no step", form)
    return {
        task: tuple(Step("", s.object, s.target, s.place) for s in steps) for task, steps in found.items()
    }


@dataclass
class Instructions:
    """How the tasks of a dataset are read together: tasks that differ in words get captions that differ.

    Attributes:
        tasks: All tasks of the dataset.
        given: Steps set by hand, by task.
        object: Set by hand for the first step of every task; `target` likewise.
    """

    tasks: Iterable[str] = ()
    given: Mapping[str, tuple[Step, ...]] = field(default_factory=dict)
    object: str = ""
    target: str = ""

    def __post_init__(self) -> None:
        """Reads all tasks."""
        self.tasks = list(dict.fromkeys(self.tasks))
        self.known = {task: self._read(task) for task in self.tasks}
        groups: dict[Any, list[Instruction]] = defaultdict(list)
        for one in self.known.values():
            if one.steps and not one.by_hand:
                groups[tuple((s.object.lower(), s.target.lower(), s.place) for s in one.steps)].append(one)
        self.alike = [group for group in groups.values() if len({_core(one.text) for one in group}) > 1]
        for one in (one for group in self.alike for one in group):
            self.known[one.text] = Instruction(one.text, one.steps, whole=True)

    def _read(self, task: str) -> Instruction:
        if task in self.given:
            return Instruction(task, self.given[task], by_hand=True)
        one = Instruction.of(task)
        if not self.object and not self.target:
            return one
        first = one.steps[0] if one.steps else Step("", FALLBACK_OBJECT)
        place = first.place if first.target else "on"
        step = Step(first.verb, self.object or first.object, self.target or first.target, place, first.held)
        return Instruction(task, (step, *one.steps[1:]), by_hand=True)

    def __call__(self, task: str) -> Instruction:
        """How a task is read; one that is not of the dataset is read alone."""
        return self.known.get(task) or self._read(task)

    def report(self) -> dict[str, Any]:
        """For the summary: how many tasks there are, which could not be read and why, and which would be captioned alike."""
        unread = {one.text: one.problem for one in self.known.values() if not one.steps}
        return {
            "tasks": len(self.known),
            "unread": unread,
            "by_hand": [one.text for one in self.known.values() if one.by_hand],
            "alike": [[one.text for one in group] for group in self.alike],
            "unknown": sorted(set(self.given) - set(self.known)),
        }


_FIX = "Fix: --instructions=FILE, or --object and --target"


def report_lines(report: Mapping[str, Any] | None) -> list[str]:
    """The report in a few lines; none where every task was understood."""
    if not report:
        return []
    lines, tasks = [], report["tasks"]
    if unread := report["unread"]:
        lines.append(
            f"warning: {len(unread)} of {tasks} tasks could not be read; their captions hold them whole. {_FIX}"
        )
        lines += [f"  {task!r} {why}" for task, why in _few(list(unread.items()))]
    if alike := report["alike"]:
        count = sum(map(len, alike))
        lines.append(
            f"warning: {count} of {tasks} tasks name the same things; their captions hold them whole as well. {_FIX}"
        )
        lines += ["  " + " = ".join(repr(task) for task in _few(group)) for group in _few(alike)]
    if unsure := report.get("unsure"):
        lines.append(
            f"warning: in {unsure} episodes the grasps are not as many as the steps of the task: which step a grasp "
            "belongs to is not known, and captions hold the task whole"
        )
    lines += [
        f"warning: --instructions has a task that the dataset has not: {task!r}" for task in report["unknown"]
    ]
    return lines


def _few(items: Sequence[Any], most: int = 8) -> Sequence[Any]:
    return items[:most]


def _core(text: str) -> tuple[str, ...]:
    """The words that make a task another one: not its case, punctuation, articles and courtesy."""
    words = re.findall(r"\w+", text.replace("_", " ").lower())
    return tuple(word for word in words if word not in DETERMINERS | {"please", "and", "then", "robot"})


def parse_instruction(text: str) -> dict[str, str]:
    """The objects and targets that an instruction such as "put the cup on the plate" names, without articles.

    Returns `{"object": ...}`, with `"target"` where the sentence names one, and `object2`, `target2`, ... for further steps.
    Where nothing is understood, object is "object". Never raises.
    """
    slots = Instruction.of(text).slots
    slots.pop(TASK, None)
    return slots or {"object": FALLBACK_OBJECT}


def fill(template: str, slots: Mapping[str, str]) -> str:
    """Fills `{object}`, `{target}` and the like; a slot that is not given falls back to its plain name. Never raises."""
    return re.sub(r"\{(object|target|task)(\d*)\}", lambda m: slots.get(m[1] + m[2], m[1]), template)


def fills(template: str, slots: Mapping[str, str]) -> bool:
    """Whether every slot of a template has a value."""
    return all(name in slots for name in re.findall(r"\{(\w+)\}", template))


def slot_template(text: str, slots: Mapping[str, str]) -> str:
    """A sentence with the first mention of each slot's value replaced by `{slot}`; the inverse of `fill`. Never raises."""
    template = re.sub(r"\s+", " ", str(text or "")).strip()
    by_value = {value: name for name, value in reversed(list(slots.items())) if name != TASK}
    # The longer name first, so that an object "cube" does not eat a part of the target "cube tray".
    for value in sorted(by_value, key=lambda value: -len(value)):
        pattern = re.escape(value).replace(r"\ ", r"[ _]+")
        replaced = "{" + by_value[value] + "}"
        template = re.sub(rf"(?<![\w{{]){pattern}(?![\w}}])", replaced, template, count=1, flags=re.I)
    return template
