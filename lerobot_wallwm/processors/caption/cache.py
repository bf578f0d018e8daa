# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Answers on disk by the hash of what was asked, so that a second run asks nothing."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

logger = logging.getLogger(__name__)

FORMAT = "wallwm-caption-answer-1"


class KeptAnswer(BaseModel):
    """One answer: captions as accepted and reasons for refusing the others, by span id. No other word is kept.

    `key` is the request's hash; attempts and tokens are of all attempts, tokens None where the server did not say.
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
    """An SQLite file of `KeptAnswer` as JSON. Several processes may share one, and a killed one leaves whole answers.

    What is read back is checked as a fresh answer is; what does not pass counts as absent, so a damaged or tampered
    answer costs a request and nothing else. The file is made where there is none.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._database: sqlite3.Connection | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path, timeout=60, isolation_level=None)
            self._database.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT)")
        except (OSError, sqlite3.Error) as error:
            self._no_answers_are_kept(error)

    def close(self) -> None:
        """Closes the file."""
        if self._database is not None:
            self._database.close()

    def get(self, key: str) -> KeptAnswer | None:
        """The kept answer, or None if there is none that can be read."""
        if self._database is None:
            return None
        try:
            row = self._database.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
            kept = KeptAnswer.model_validate_json(row[0]) if row else None
        except (sqlite3.Error, ValidationError):
            return None
        return kept if kept is not None and kept.key == key else None

    def put(self, answer: KeptAnswer) -> bool:
        """Keeps an answer. False if the disk does not take it; the answer itself is still good."""
        if self._database is None:
            return False
        try:
            row = (answer.key, answer.model_dump_json())
            self._database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", row)
        except sqlite3.Error as error:
            self._no_answers_are_kept(error)
            return False
        return True

    def _no_answers_are_kept(self, error: Exception) -> None:
        self.close()
        self._database = None
        logger.warning(
            f"--vlm.cache={self.path} cannot be used ({error}): the captions are made, but a second run asks again. "
            "Fix: free the disk, remove the file, or name another one"
        )
