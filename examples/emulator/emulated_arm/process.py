# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Starts an emulator as a process from Python, for tests and campaigns."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from emulated_arm.control import Remote
from emulated_arm.journal import read_journal
from emulated_arm.shared import folder_of


class EmulatorProcess:
    """An emulator that lives as long as the ``with`` block.

    Args:
        arm: The kind of arm, as ``--arm``.
        port: Name for the serial port.
        options: Further options of the command line, by name: ``calibration=path``, ``clock="sim"``, ``loop=True``.

    Attributes:
        remote: Sends commands: ``emulator.remote.ask("hand middle")``.

    Raises:
        RuntimeError: It did not start; the message repeats what it said.
    """

    def __init__(self, arm: str, port: Path, **options) -> None:
        self.port = Path(port)
        words = [f"--arm={arm}", f"--port={port}"]
        for name, value in options.items():
            if value is True:
                words.append(f"--{name}")
            elif value not in (None, False):
                words.append(f"--{name}={value}")
        self.port.parent.mkdir(parents=True, exist_ok=True)
        self._said = self.port.with_name(f"{self.port.name}.log")
        with self._said.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "emulated_arm.cli", *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        first = self.process.stdout.readline() if self.process.stdout else b""
        if not first.startswith(b"ready"):
            self.process.wait()
            raise RuntimeError(self._said.read_text(encoding="utf-8", errors="replace").strip() or "no word")
        self.remote = Remote(self.port)

    @property
    def journal(self) -> Path:
        """Where goals and faults are recorded, unless ``journal`` was given."""
        return folder_of(self.port) / "journal.jsonl"

    def lines(self, event: str | None = None) -> list[dict]:
        """The journal so far."""
        self.remote.ask("flush")
        return list(read_journal(self.journal, event))

    def close(self) -> None:
        """Ends it."""
        self.remote.close()
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=15)
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> EmulatorProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
