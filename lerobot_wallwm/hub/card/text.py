# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Pieces of Markdown in which text from elsewhere shows as it is and does nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lerobot_wallwm.language.markdown import plain, table

NOT_MEASURED = "not measured"


def shown(text: Any, letters: int = 160) -> str:
    """Text from elsewhere as one line that a renderer neither links nor interprets."""
    printable = "".join(letter if letter.isprintable() else " " for letter in str(text))
    line = plain(printable, letters)
    # Bare addresses would become links and mentions.
    line = line.replace("://", "&#58;//").replace("@", "&#64;")
    return re.sub(r"\bwww\.", "www&#46;", line, flags=re.I)


def code_block(*lines: str) -> list[str]:
    """A fenced block; what could close the fence is replaced."""
    shown_lines = []
    for text in lines:
        line = "".join(letter if letter.isprintable() else " " for letter in text).replace("`", "'")
        shown_lines.append(line.rstrip())
    return ["```", *shown_lines, "```", ""]


def number(value: float | None, digits: int = 2) -> str:
    """A measured number, or that it was not measured."""
    return NOT_MEASURED if value is None else f"{value:.{digits}f}"


def facts(rows: Mapping[str, str]) -> list[str]:
    """A table of two columns without a header."""
    return [*table(["", ""], [[key, value] for key, value in rows.items()]), ""]


def section(title: str, lines: list[str]) -> list[str]:
    """A heading and what follows it; nothing to say is said."""
    return [f"## {title}", "", *(lines or [f"{NOT_MEASURED.capitalize()}.", ""])]
