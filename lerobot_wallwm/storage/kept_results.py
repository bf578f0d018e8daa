# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Results by key in an SQLite file: a kill costs the one that is being written, and damage is never an error."""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path


class KeptResults:
    """Texts by key, each committed by itself; several processes may share a file.

    What does not read back as it was put in counts as absent. Once the file or its disk takes nothing, no more is kept.

    Args:
        path: The file; made, with its folder, where there is none.
        failed: Called with the reason when it takes nothing.
        flush: Whether a result shall survive the death of the machine, which takes milliseconds, or of the process alone.
    """

    def __init__(
        self, path: Path, failed: Callable[[Exception], object] = lambda error: None, flush: bool = True
    ) -> None:
        self._database: sqlite3.Connection | None = None
        self._failed = failed
        with self._given_up_on_error():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._database.execute(f"PRAGMA synchronous={'FULL' if flush else 'OFF'}")
            self._database.execute("CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, text, sum)")

    def get(self, key: str) -> str | None:
        """The text kept under a key, or None."""
        with contextlib.suppress(sqlite3.Error):
            if self._database is not None:
                row = self._database.execute("SELECT text, sum FROM kept WHERE key = ?", (key,)).fetchone()
                return row[0] if row is not None and row[1] == _sum(key, row[0]) else None
        return None

    def put(self, key: str, text: str) -> None:
        """Keeps a text."""
        with self._given_up_on_error():
            if self._database is not None:
                row = (key, text, _sum(key, text))
                self._database.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", row)

    def close(self) -> None:
        """Closes the file."""
        if self._database is not None:
            self._database.close()

    @contextlib.contextmanager
    def _given_up_on_error(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            self.close()
            self._database = None
            self._failed(error)


def _sum(key: str, text: object) -> int:
    return zlib.crc32(f"{key}\n{text}".encode())
