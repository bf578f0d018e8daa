# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A process that has imported LeRobot once and forks `lerobot-rollout` from there, so that a start takes a second.

Each rollout is a process of its own, with LeRobot's own command line, signal handlers, exit code and end; only the imports
and the search for plugins are shared. A hasty one ends as every command does: the error is printed, threads are joined,
exit handlers run, and all objects that it made are destroyed; but it leaves out taking the imported modules apart, which
takes longer than all the rest. Reads lines of JSON ``{"argv": [...], "log": FILE, "hasty":
BOOL}`` and answers each with ``{"pid": N}`` at once and ``{"code": N}`` when it has ended; a negative code is the signal
that killed it.
"""

import atexit
import contextlib
import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from benchmarks.harness.repo import REPO

READY = "ready"


class Nursery:
    """Starts rollouts from another process.

    Args:
        log: File for what the nursery itself says.
        environment: Its environment, which every rollout inherits.

    Raises:
        RuntimeError: It could not be started; the message names the log.
    """

    def __init__(self, log: Path, environment: dict[str, str]) -> None:
        self.log = log
        self._said = log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.arm.processes"],
            cwd=REPO,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=environment,
        )
        if self._read().get("word") != READY:
            raise RuntimeError(f"the nursery of rollouts did not start. Fix: see {log}")
        assert self._process.stdout is not None
        self._running: int | None = None

    def _read(self) -> dict:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline() or b"{}")

    def start(self, argv: list[str], log: Path, hasty: bool = False) -> int:
        """Starts a rollout and returns its process id; see the module for what ``hasty`` leaves out."""
        assert self._process.stdin is not None and self._running is None
        wanted = {"argv": argv, "log": str(log), "hasty": hasty}
        self._process.stdin.write(json.dumps(wanted).encode() + b"\n")
        self._process.stdin.flush()
        self._running = int(self._read()["pid"])
        return self._running

    def poll(self) -> int | None:
        """The exit code of the rollout, or None while it runs."""
        import select

        assert self._process.stdout is not None and self._running is not None
        # One line at a time is under way, so nothing can hide in the buffer.
        if not select.select([self._process.stdout], [], [], 0)[0]:
            return None
        self._running = None
        return int(self._read()["code"])

    def close(self) -> None:
        """Ends the nursery, and a rollout that still runs."""
        if self._running is not None:
            os.kill(self._running, 9)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()
        self._said.close()


def _nurse() -> None:
    import draccus.wrappers.docstring as docstring
    import lerobot.scripts.lerobot_rollout as command
    from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: F401  imported here, not by every rollout
    from lerobot.utils.import_utils import register_third_party_plugins

    import lerobot_wallwm.policies.modeling_wallwm
    import lerobot_wallwm.policies.processor_wallwm  # noqa: F401

    # Help texts of the command line, read from the sources once instead of for every field and every start.
    docstring.get_attribute_docstring = lru_cache(maxsize=None)(docstring.get_attribute_docstring)
    register_third_party_plugins()
    known: set[tuple[str, ...]] = set()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    answers.write(json.dumps({"word": READY}) + "\n")
    while line := sys.stdin.readline():
        order = json.loads(line)
        flags = tuple(sorted(word.partition("=")[0] for word in order["argv"]))
        if flags not in known:
            known.add(flags)
            _read_help_texts(order["argv"])
        # What is shared is no rollout's garbage; looking through it would copy it page by page.
        gc.collect()
        gc.freeze()
        child = os.fork()
        if child == 0:
            answers.close()
            _become_rollout(order)
            if order["hasty"]:
                _run_and_end(command.rollout)
            command.rollout()
            return  # as a command's process ends: threads joined, exit handlers run, objects destroyed
        answers.write(json.dumps({"pid": child}) + "\n")
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answers.write(json.dumps({"code": code}) + "\n")


def _run_and_end(rollout: Callable[[], None]) -> None:
    """Ends the process, unless it is to be interrupted: see the module."""
    code = 0
    try:
        rollout()
    except Exception:
        sys.excepthook(*sys.exc_info())
        code = 1
    # In the interpreter's own order.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _read_help_texts(argv: list[str]) -> None:
    """Parses a command line for nothing, so that the sources of its help texts are known to all later rollouts."""
    import draccus
    from lerobot.rollout import RolloutConfig

    before, sys.argv = sys.argv, ["lerobot-rollout", *argv]
    # What is wrong with it is for the rollout itself to say.
    with contextlib.suppress(Exception, SystemExit):
        rest = [word for word in argv if not word.startswith("--policy.")]
        draccus.parse(config_class=RolloutConfig, args=rest)
    sys.argv = before


def _become_rollout(order: dict) -> None:
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    sys.argv = ["lerobot-rollout", *order["argv"]]


if __name__ == "__main__":
    _nurse()
