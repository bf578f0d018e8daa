# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a server must answer: the completion around it, and in it one caption for each event that was asked about.

Pydantic in strict mode, nothing unknown allowed inside the answer. The model gives words only. Where events start and
end is the segmenter's, so an answer that brings its own spans is refused as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lerobot_wallwm.processors.caption_text import RefusedCaptionError, clean_caption

MAX_ANSWER_CHARS = 65_536
_MAX_TOKENS_COUNTED = 10**9


class Answer(BaseModel):
    """The model's answer: `{"captions": {"A1": "reach for the red cube", ...}}`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    captions: dict[str, str]


class _Message(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    content: str


class _Choice(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    message: _Message
    finish_reason: str | None = None


class Completion(BaseModel):
    """The part of an OpenAI chat completion that is used; servers add fields of their own."""

    model_config = ConfigDict(strict=True, extra="ignore")

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
    """The captions of an answer that passed, and why the others did not.

    Attributes:
        captions: Span id to caption.
        refused: Span id to reason: `missing`, or a reason of `RefusedCaptionError`.
    """

    captions: dict[str, str]
    refused: dict[str, str]


def response_schema(ids: Sequence[str]) -> dict[str, Any]:
    """JSON schema of the answer for these span ids, for servers that can hold a model to one.

    The same shape as `Answer`, with every id required and no other allowed.
    """
    captions = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ids},
        "required": list(ids),
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"captions": captions},
        "required": ["captions"],
        "additionalProperties": False,
    }


def parse_completion(body: bytes) -> Completion:
    """The completion in a response's body.

    Raises:
        AnswerError: `not_completion`, if it is not JSON of that shape.
    """
    try:
        return Completion.model_validate_json(body)
    except ValidationError as error:
        raise AnswerError("not_completion") from error


def _bare(text: str) -> str:
    """The text without a `<think>` block before it and a code fence around it."""
    text = text.strip()
    if text.startswith("<think>") and "</think>" in text:
        text = text.partition("</think>")[2].strip()
    if text.startswith("```") and text.endswith("```") and len(text) > 6:
        text = text[3:-3].removeprefix("json")
    return text


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys occur once; Python's parser would keep the last of two in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise AnswerError("repeated_event")
    return found


def parse_answer(text: str, ids: Sequence[str], longest: int) -> Checked:
    """The captions in a model's answer.

    A `<think>` block before the JSON and a code fence around it are taken off; any other text around it is refused.

    Args:
        text: The message's content.
        ids: Span ids that were asked about.
        longest: Most characters of a caption.

    Raises:
        AnswerError: If the answer is not exactly such JSON, speaks of other events, or holds no usable caption.
    """
    if len(text) > MAX_ANSWER_CHARS:
        raise AnswerError("too_large")
    try:
        data = json.loads(_bare(text), object_pairs_hook=_unique_keys)
    except AnswerError:
        raise
    except (ValueError, RecursionError) as error:
        raise AnswerError("not_json") from error
    if _brings_spans(data):
        raise AnswerError("own_spans")
    try:
        answer = Answer.model_validate(data)
    except ValidationError as error:
        raise AnswerError("schema") from error
    if set(answer.captions) - set(ids):
        raise AnswerError("unknown_event")
    captions, refused = {}, {}
    for name in ids:
        if name not in answer.captions:
            refused[name] = "missing"
            continue
        try:
            captions[name] = clean_caption(answer.captions[name], longest)
        except RefusedCaptionError as error:
            refused[name] = error.reason
    if not captions:
        raise AnswerError(next(iter(refused.values()), "schema"))
    return Checked(captions, refused)


def _brings_spans(data: Any) -> bool:
    """Whether an answer of the wrong shape looks like spans of the model's own; only the reason given hangs on it."""
    values = list(data.values()) if isinstance(data, dict) else [data]
    values += [item for value in values if isinstance(value, dict) for item in value.values()]
    values += [item for value in values if isinstance(value, list) for item in value]
    keys = {key for value in [data, *values] if isinstance(value, dict) for key in value}
    return any(key.startswith(("start", "end", "span")) for key in keys)
