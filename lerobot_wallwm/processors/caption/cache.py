# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Answers on disk, one JSON file each, named by the hash of what was asked; so a second run asks nothing.

A file appears whole or not at all. What is read back goes through the same checks as a fresh answer, and a file that
does not pass counts as absent, so a damaged or tampered one costs a request and nothing else.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FORMAT = "wallwm-caption-answer-1"


class KeptAnswer(BaseModel):
    """One answer.

    Attributes:
        format: Always `FORMAT`.
        key: Hash of the request; the file's name.
        model: The model that was asked.
        captions: Span id to caption, as accepted. Nothing else that the server wrote is kept.
        refused: Span id to the reason for which its caption was refused.
        attempts: How often the request was sent for it.
        prompt_tokens: Tokens of all attempts; None where the server did not say.
        completion_tokens: The same for the answers.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    format: str = Field(default=FORMAT, pattern=f"^{FORMAT}$")
    key: str
    model: str
    captions: dict[str, str] = Field(min_length=1)
    refused: dict[str, str]
    attempts: int = Field(ge=1)
    prompt_tokens: int | None = Field(default=None, ge=0)
    completion_tokens: int | None = Field(default=None, ge=0)


class AnswerCache:
    """A folder of `KeptAnswer`. Several processes may share one."""

    _number = itertools.count()

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        for partial in self.root.glob(".partial-*"):
            if not _alive(partial.name.split("-")[1]):
                partial.unlink(missing_ok=True)

    def path(self, key: str) -> Path:
        """Where the answer to `key` lies."""
        return self.root / key[:2] / f"{key}.json"

    def get(self, key: str) -> KeptAnswer | None:
        """The kept answer, or None if there is none that can be read."""
        try:
            kept = KeptAnswer.model_validate_json(self.path(key).read_bytes())
        except (OSError, ValidationError):
            return None
        return kept if kept.key == key else None

    def put(self, answer: KeptAnswer) -> bool:
        """Keeps an answer. False if the disk does not take it; the answer itself is still good."""
        path = self.path(answer.key)
        partial = self.root / f".partial-{os.getpid()}-{next(self._number)}"
        try:
            path.parent.mkdir(exist_ok=True)
            partial.write_text(answer.model_dump_json(indent=1) + "\n", encoding="utf-8")
            os.replace(partial, path)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()
            return False
        return True


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
