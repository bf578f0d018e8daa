# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A prompt for a vision-language model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Prompt:
    """A request in words and pictures.

    Attributes:
        key: SHA-256 of everything that decides the answer: model, settings, words and the sheet's pixels.
        messages: Chat messages with the sheet as a data URI.
        schema: JSON schema of the answer.
        missing: Cameras without a readable frame, with the reason.
    """

    key: str
    messages: list[dict[str, Any]]
    schema: dict[str, Any]
    missing: dict[str, str]


def data_block(data: Any) -> str:
    """JSON between `<data>` and `</data>`, in which no string can end the block."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return f"<data>\n{text}\n</data>"
