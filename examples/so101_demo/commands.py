# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Runs a command quietly: output to a log file, a progress line now and then, peak memory of its process tree."""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TAIL_LINES = 15


class CommandError(RuntimeError):
    """A command failed; the message holds the end of its output and where the rest is."""


@dataclass(frozen=True)
class CommandResult:
    """How a command went.

    Attributes:
        command: As one would type it.
        seconds: Wall-clock.
        peak_gb: Peak memory of the command and its children together, in 10^9 bytes. On Linux shared pages count
            once; elsewhere it is the largest single process.
    """

    command: str
    seconds: float
    peak_gb: float


def executable(name: str) -> str:
    """A command of the environment that this Python runs in, installed or not on PATH."""
    local = Path(sys.executable).with_name(name)
    return str(local) if local.exists() else name


def spelled(argv: Sequence[str]) -> str:
    """The command as one would type it in the repository: no machine paths in front of the program."""
    return shlex.join([Path(argv[0]).name, *argv[1:]])


def run_command(
    argv: Sequence[str],
    log: str | Path,
    progress: Callable[[str, float], None] | None = None,
    every: float = 30.0,
    env: Mapping[str, str] | None = None,
    append: bool = False,
) -> CommandResult:
    """Runs a command to its end.

    Args:
        argv: Program and arguments.
        log: File for stdout and stderr together.
        progress: Called with the log's last 4 kB and the elapsed seconds.
        every: Seconds between calls of ``progress``.
        env: More environment variables.
        append: Keep what the log holds.

    Raises:
        CommandError: The command is missing or exited with an error.
    """
    log = Path(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    began, told, peak = time.monotonic(), time.monotonic(), 0.0
    with log.open("ab" if append else "wb") as sink:
        try:
            process = subprocess.Popen(
                argv,
                stdout=sink,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(env or {})},
            )
        except OSError as error:
            raise CommandError(f"{argv[0]} cannot be started ({error}). Fix: run `make install`") from error
        try:
            while process.poll() is None:
                peak = max(peak, tree_memory_gb(process.pid))
                if progress is not None and time.monotonic() - told >= every:
                    told = time.monotonic()
                    progress(tail(log), told - began)
                time.sleep(0.5)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode != 0:
        last = "\n".join("  | " + line for line in tail(log, 20_000).splitlines()[-TAIL_LINES:])
        raise CommandError(
            f"{Path(argv[0]).name} exited with {process.returncode}. The end of {log}:\n{last}\n"
            f"  The command was: {spelled(argv)}"
        )
    if peak == 0.0:
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 1e9
    return CommandResult(spelled(argv), time.monotonic() - began, peak)


def tail(path: Path, size: int = 4096) -> str:
    """The last bytes of a text file, with tqdm's carriage returns as line ends."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode("utf-8", "replace").replace("\r", "\n")


def tree_memory_gb(pid: int) -> float:
    """Memory of a process and its descendants in 10^9 bytes (proportional set size); 0 where /proc tells nothing."""
    total, waiting = 0, [pid]
    while waiting:
        current = waiting.pop()
        try:
            for line in Path(f"/proc/{current}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
            for task in Path(f"/proc/{current}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
        except (OSError, ValueError):
            continue  # it ended while we looked, or this is not Linux
    return total / 1e9
