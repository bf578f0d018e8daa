# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Reads a recipe: which commands it gives, what it says one will see, and what a person does at each prompt.

A recipe is Markdown for people. What a program needs in order to follow it:

* each ``bash`` block has a comment before it: ``<!-- run: NAME; OPTION; OPTION=VALUE -->``, or ``<!-- not run: WHY -->``;
* a sentence after the block that begins with "You see" quotes output in backticks, in order; one that begins with
  "It writes" quotes paths;
* a table after the block says what to do when: quoted output, what a person does (keys as ``<kbd>Enter</kbd>``), and the
  commands that stand in for the person's hands, in backticks, carried out before the keys.

In quoted output ``...`` is any text and ``<name>`` any word, which the commands of the same row may use as ``<name>``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^```(\w*)\s*$")
MARK = re.compile(r"^<!--\s*(run|not run):\s*(.+?)\s*-->$")
QUOTED = re.compile(r"`([^`]+)`")
KEY = re.compile(r"<kbd>(.+?)</kbd>")
NAME = re.compile(r"<([a-z_]+)>")
SENTENCE = re.compile(r"(?<=[.:])\s+")
OPTIONS = {"again", "background", "arm", "cameras", "clears", "exit", "first"}


@dataclass(frozen=True)
class Prompt:
    """A row of a table: when the output shows ``pattern``, ``commands`` and then ``keys`` follow."""

    pattern: re.Pattern[str]
    keys: list[str]
    commands: list[str]


@dataclass
class Step:
    """A command of the recipe.

    Attributes:
        name: From the comment.
        line: In the file, of the block's first command.
        command: As printed, any number of lines.
        options: ``background``: runs until the end; ``arm``, ``cameras``: only for that choice; ``exit``: allowed
            exit codes, separated by commas; ``again``: how often it may be tried once more after a motor was not
            heard, because the recipe says so; before that ``clears`` is removed, and the step ``first`` done again.
        why_not: Why it is not run, or None.
        sees: Patterns that the output holds, in order.
        writes: Paths that exist afterwards.
        prompts: What a person does meanwhile.
    """

    name: str
    line: int
    command: str
    options: dict[str, str] = field(default_factory=dict)
    why_not: str | None = None
    sees: list[re.Pattern[str]] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)

    @property
    def exits(self) -> set[int]:
        """Exit codes that are as the recipe says."""
        return {int(code) for code in self.options.get("exit", "0").split(",")}

    def applies(self, **choices: str) -> bool:
        """Whether the step belongs to the chosen arm and number of cameras."""
        return self.why_not is None and all(
            self.options.get(name, choice) == choice for name, choice in choices.items()
        )


def as_pattern(quoted: str) -> re.Pattern[str]:
    """A regular expression for quoted output."""
    pieces = re.split(r"(\.\.\.|<[a-z_]+>)", quoted)
    seen: set[str] = set()
    made = []
    for piece in pieces:
        name = NAME.fullmatch(piece)
        if piece == "...":
            made.append(r".*?")
        elif name and name[1] in seen:
            made.append(f"(?P={name[1]})")
        elif name:
            seen.add(name[1])
            made.append(rf"(?P<{name[1]}>[\w.+-]+)")
        else:
            made.append(re.escape(piece))
    return re.compile("".join(made))


def _mark(text: str, line: int, where: str) -> tuple[str, dict[str, str], str | None]:
    found = MARK.match(text)
    if found is None:
        raise ValueError(
            f"{where}:{line}: the bash block has no comment before it. "
            "Fix: write <!-- run: NAME --> or <!-- not run: WHY --> on the line above."
        )
    if found[1] == "not run":
        return "", {}, found[2]
    name, *rest = [word.strip() for word in found[2].split(";")]
    options = {}
    for word in rest:
        key, _, value = word.partition("=")
        if key not in OPTIONS:
            raise ValueError(
                f"{where}:{line}: unknown option {key!r}. Fix: one of {', '.join(sorted(OPTIONS))}"
            )
        options[key] = value
    return name, options, None


def read_recipe(path: Path) -> list[Step]:
    """The steps of a recipe, in order.

    Raises:
        ValueError: A block without its comment, an unknown option, or a name used twice; the message names the line.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    steps: list[Step] = []
    current: Step | None = None
    number = 0
    while number < len(lines):
        text = lines[number]
        fence = FENCE.match(text)
        if fence:
            end = next(i for i in range(number + 1, len(lines)) if lines[i].strip() == "```")
            if fence[1] == "bash":
                name, options, why = _mark(lines[number - 1] if number else "", number + 1, path.name)
                current = Step(name, number + 2, "\n".join(lines[number + 1 : end]), options, why)
                steps.append(current)
            number = end + 1
            continue
        if text.startswith("#"):
            current = None
        if current is not None:
            number = _after(current, lines, number)
        number += 1
    names = [step.name for step in steps if step.why_not is None]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path.name}: the step {twice[0]!r} is there twice. Fix: give each its own name")
    return steps


def _after(step: Step, lines: list[str], number: int) -> int:
    """Takes in the paragraph or table row that begins at a line; returns its last line."""
    text = lines[number]
    if text.startswith("|"):
        cells = [cell.strip() for cell in text.strip("|").split("|")]
        shown = QUOTED.search(cells[0])
        if len(cells) == 3 and shown:
            step.prompts.append(Prompt(as_pattern(shown[1]), KEY.findall(cells[1]), QUOTED.findall(cells[2])))
        return number
    if not text.strip() or text.startswith("<!--"):
        return number
    end = number
    while (
        end + 1 < len(lines)
        and lines[end + 1].strip()
        and not lines[end + 1].startswith(("|", "`", "#", "<"))
    ):
        end += 1
    for sentence in SENTENCE.split(" ".join(lines[number : end + 1])):
        if sentence.startswith("You see"):
            step.sees += [as_pattern(quoted) for quoted in QUOTED.findall(sentence)]
        elif sentence.startswith("It writes"):
            step.writes += QUOTED.findall(sentence)
    return end
