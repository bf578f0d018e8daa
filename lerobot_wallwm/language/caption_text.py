# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a model's text must be like to become a caption: one short plain line about the robot.

A caption is training text and is shown to people; nothing ever executes it. So the rule is a list of what may stand in
it (letters, digits, spaces and a little punctuation), not a list of what is feared. Braces are refused too, because
templates fill them in.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST = 160
_ALLOWED = frozenset(" '’-–,.;:()/%+°!?")
# Our choice: what models say instead of a caption, and text that addresses a model rather than describing the robot.
# A help for clean data, not a defence: the defence is that a caption stays text.
_NOT_A_CAPTION = re.compile(
    r"\b(?:i am|i'm|i cannot|i can't|i will|sorry|as an ai|language model|ignore|disregard|instructions?|"
    r"system prompt|prompt|json|no caption|caption)\b|://|www\.",
    re.I,
)


class RefusedCaptionError(ValueError):
    """A text that is no caption; it says `empty`, `long`, `control`, `markup` or `not_a_caption`."""


def clean_caption(text: str, longest: int = LONGEST) -> str:
    """The caption in normal form (NFKC, single spaces, without quotes, dashes and stops at its ends).

    Raises:
        RefusedCaptionError: If the text is empty or longer than `longest` characters, holds control, format or
            line-break characters, or characters of markup, or does not read like a caption.
    """
    # Before normalising, which can multiply the length of a text by 18.
    if len(text) > 8 * longest:
        raise RefusedCaptionError("long")
    text = unicodedata.normalize("NFKC", text).strip()
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for char in text):
        raise RefusedCaptionError("control")
    text = re.sub(r"[\"“”]", "'", " ".join(text.split())).strip(" '‘’-–.,;:")
    if sum(char.isalpha() for char in text) < 2:
        raise RefusedCaptionError("empty")
    if len(text) > longest:
        raise RefusedCaptionError("long")
    if any(char not in _ALLOWED and unicodedata.category(char)[0] not in "LMN" for char in text):
        raise RefusedCaptionError("markup")
    if _NOT_A_CAPTION.search(text):
        raise RefusedCaptionError("not_a_caption")
    return text


def plain_line(text: str, longest: int) -> str:
    """Foreign text as one printable line of at most `longest` characters, for prompts, reports and terminals.

    Control, format and surrogate characters, over which a terminal or a parquet file would trip, become spaces.
    """
    shown = (" " if unicodedata.category(char)[0] in "CZ" else char for char in text[: 8 * longest])
    line = " ".join("".join(shown).split())
    return line if len(line) <= longest else line[: longest - 3].rstrip() + "..."
