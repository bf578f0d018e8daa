# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Answers of a vision-language model, read strictly."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_ANSWER_CHARS = 65_536
_MAX_TOKENS_COUNTED = 10**9


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _Message(_Part):
    content: str


class _Choice(_Part):
    message: _Message
    finish_reason: str | None = None


class Completion(_Part):
    """The part of an OpenAI chat completion that is used; servers add fields of their own."""

    choices: list[_Choice] = Field(min_length=1)
    usage: Any = None

    def tokens(self) -> tuple[int, int] | None:
        """Prompt and answer tokens, or None where the server gives none that make sense."""
        usage = self.usage if isinstance(self.usage, dict) else {}
        prompt, answer = (usage.get(name) for name in ("prompt_tokens", "completion_tokens"))
        # Not isinstance: True is an int.
        if type(prompt) is int and type(answer) is int and min(prompt, answer) >= 0:
            return (prompt, answer) if max(prompt, answer) <= _MAX_TOKENS_COUNTED else None
        return None


class AnswerError(ValueError):
    """An answer that cannot be used at all.

    Attributes:
        reason: One of `not_completion`, `cut_off`, `not_json`, `too_large`, `schema`, `own_spans`, `unknown_event`,
            `repeated_event`, or the reason for which every caption was refused.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True)
class Checked:
    """The captions of an answer that passed, by span id, and why the others did not.

    A reason is `missing`, or one of `RefusedCaptionError`.
    """

    captions: dict[str, str]
    refused: dict[str, str]


def parse_completion(body: bytes) -> Completion:
    """The completion in a response's body; raises `AnswerError("not_completion")` if it is not JSON of that shape."""
    try:
        return Completion.model_validate_json(body)
    except ValidationError as error:
        raise AnswerError("not_completion") from error


def read_json(text: str) -> Any:
    """The JSON of a model's message.

    A `<think>` block before it and a code fence around it are taken off; any other text around it is refused.

    Raises:
        AnswerError: `too_large`, `not_json`, or `repeated_event` for a key that occurs twice in an object.
    """
    if len(text) > MAX_ANSWER_CHARS:
        raise AnswerError("too_large")
    text = text.strip()
    if text.startswith("<think>") and "</think>" in text:
        text = text.partition("</think>")[2].strip()
    if text.startswith("```") and text.endswith("```") and len(text) > 6:
        text = text[3:-3].removeprefix("json")
    try:
        return json.loads(text, object_pairs_hook=_unique_keys)
    except AnswerError:
        raise
    except (ValueError, RecursionError) as error:
        raise AnswerError("not_json") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys occur once; Python's parser would keep the last of two in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise AnswerError("repeated_event")
    return found
