# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A command in a terminal of its own, with somebody who watches what it prints and presses keys."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

KEYS = {
    "Enter": b"\r",
    "Tab": b"\t",
    "Space": b" ",
    "Esc": b"\x1b",
    "→": b"\x1b[C",
    "←": b"\x1b[D",
    "Ctrl-C": b"\x03",
    "Ctrl-D": b"\x04",
}
# Moves of the cursor and colours, which only a screen understands.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLUMNS, ROWS = 250, 50
POLL = 0.05
# The kernel's, of the thread that carries a pseudo-terminal's bytes. Not further ahead: LeRobot's drivers wait by polling, which
# at any higher priority keeps that thread from running, now and then for longer than the driver waits. In rollouts on two
# busy cores a Koch's read failed 19 times of 3990 at -3, and 0 times of 3855 at 0 with the emulator's bus ahead of it.
AHEAD = 0
# Linux' prctl and the capability, by number (linux/prctl.h, linux/capability.h).
PR_CAPBSET_DROP, CAP_SYS_NICE = 24, 23
LIBC = ctypes.CDLL(None)


def go_ahead() -> None:
    """Lets what this process will start run before work that has been set back, where this user may say so.

    LeRobot's drivers wait 34 to 50 ms for a reply, within which an ordinary process on a busy machine may not run at all.
    They must not get real-time priority: the AV1 encoder takes that for the thread that opens it, and keeps it, where
    it may, which is as root; the driver in that thread would then poll so that no reply ever came. A user's arm is not
    driven by root, so what is started here has lost that right.
    """
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, AHEAD)
    with contextlib.suppress(AttributeError):  # no Linux
        LIBC.prctl(PR_CAPBSET_DROP, CAP_SYS_NICE, 0, 0, 0)


class Terminal:
    """Runs a bash command on a pseudo-terminal.

    Args:
        command: For ``bash -c``.
        cwd, env: Where, and with which environment.
        log: File that gets everything it prints.
        ahead: It goes ahead of other work.

    Attributes:
        text: What it has printed so far, without control sequences.
    """

    def __init__(self, command: str, cwd: Path, env: dict[str, str], log: Path, ahead: bool = False) -> None:
        self.text = ""

        def begin() -> None:
            # Ctrl-C reaches only the terminal that a session calls its own.
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if ahead:
                go_ahead()

        self._log = log.open("wb")
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        try:
            self.process = subprocess.Popen(
                ["bash", "-c", command],
                cwd=cwd,
                env=env,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
                preexec_fn=begin,
            )
        finally:
            os.close(slave)
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    def press(self, key: str) -> None:
        """Presses a key: one of `KEYS`, or a letter."""
        os.write(self._master, KEYS.get(key, key.encode()))

    def _drain(self) -> None:
        # On a thread of its own: a full terminal would stop the command while somebody is busy with a prompt.
        rest = b""
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # what Linux says when the last writer has gone
                data = b""
            self._log.write(data)
            rest += data
            # An unfinished control sequence is completed by the next piece.
            cut = rest.rfind(b"\x1b", max(0, len(rest) - 16)) if data else -1
            if cut < 0 or CONTROL.match(rest[cut:].decode(errors="replace")):
                cut = len(rest)
            self.text += CONTROL.sub("", rest[:cut].decode(errors="replace"))
            rest = rest[cut:]
            if not data:
                self._log.close()
                return

    def watch(self, look: Callable[[str], None], limit: float) -> int:
        """Lets it run to its end.

        Args:
            look: Called with all text so far whenever there is more.
            limit: Seconds, after which it is stopped.

        Returns:
            Its exit code.

        Raises:
            TimeoutError: It took longer; it has been stopped.
        """
        deadline = time.monotonic() + limit
        known = 0
        while self.process.poll() is None:
            text = self.text
            if len(text) > known:
                known = len(text)
                look(text)
            if time.monotonic() > deadline:
                self.stop()
                raise TimeoutError(f"not done after {limit:g} s")
            time.sleep(POLL)
        self._reader.join(timeout=5.0)
        look(self.text)
        return self.process.returncode

    def wait_for(self, pattern: re.Pattern[str], limit: float) -> None:
        """Waits until it has printed something.

        Raises:
            RuntimeError: It ended first, or took longer.
        """
        deadline = time.monotonic() + limit
        while not pattern.search(self.text):
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.stop()
                raise RuntimeError(
                    f"it never printed {pattern.pattern!r}; its last words: {self.text[-500:]}"
                )
            time.sleep(POLL)

    def stop(self) -> None:
        """Ends it and what it started."""
        for number, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
            if self.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(patience)
        self.close()

    def close(self) -> None:
        """Closes the terminal."""
        self._reader.join(timeout=5.0)
        with contextlib.suppress(OSError):
            os.close(self._master)
