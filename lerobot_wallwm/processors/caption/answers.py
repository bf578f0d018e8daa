# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a server must answer: the completion around it, and in it one caption for each event that was asked about.

Pydantic in strict mode, nothing unknown allowed inside the answer. The model gives words only. Where events start and
end is the segmenter's, so an answer that brings its own spans is refused as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from lerobot_wallwm.language.answers import MAX_ANSWER_CHARS, AnswerError, Checked, _bare, _unique_keys
from lerobot_wallwm.language.caption_text import RefusedCaptionError, clean_caption


class Answer(BaseModel):
    """The model's answer: `{"captions": {"A1": "reach for the red cube", ...}}`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    captions: dict[str, str]


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
