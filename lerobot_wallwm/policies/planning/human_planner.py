# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A person chooses the events while the arm runs: in a file, or at the terminal.

An order is one line: a caption, with its duration where the person wants one ("grasp the red cube | 2.0 s"), or `next` (the
event that the checkpoint's grammar expects), `hold` (stay, keep the event), `go` (go on with it), `stop` (stay, forget it).
Lines are data: what is no such word and no caption that the checkpoint knows is refused, and the arm does what it did.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from lerobot_wallwm.language.caption_text import RefusedCaptionError, clean_caption, plain_line
from lerobot_wallwm.language.event_grammar import is_known
from lerobot_wallwm.policies.planning.planners import GrammarPlanner, Planner, parse_line

logger = logging.getLogger(__name__)

TERMINAL = "-"
COMMANDS = ("next", "hold", "go", "stop")
# Bytes of the file's end that are read; a line is at most a few hundred characters long. Our choice.
_TAIL = 65_536


class Orders(Protocol):
    """Where a person's lines come from."""

    def newest(self) -> str | None:
        """The last line that was given since the last call; None if there is none."""

    def restart(self) -> None:
        """A new rollout begins."""


class FileOrders:
    """The last line of a file, whenever the file changes.

    Args:
        path: The file; it may come later.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.restart()

    def restart(self) -> None:
        """The file's last line is an order again."""
        self._stamp: tuple[int, ...] | None = None
        self._lines: tuple[int, str] = (0, "")
        self._complained = False

    def newest(self) -> str | None:
        """Costs one `stat` while the file stays as it is."""
        try:
            found = self.path.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp == self._stamp:
                return None
            if not stat.S_ISREG(found.st_mode):  # a pipe would block the tick
                raise OSError("is no regular file")
            with self.path.open("rb") as file:
                file.seek(max(0, found.st_size - _TAIL))
                text = file.read(_TAIL).decode("utf-8", "replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            if not self._complained:
                logger.warning(
                    "--policy.planner_file=%s cannot be read (%s). The arm waits.", self.path, error
                )
            self._complained = True
            return None
        self._stamp, self._complained = stamp, False
        lines = [line for line in text.splitlines() if line.strip()]
        now = (len(lines), lines[-1] if lines else "")
        changed = bool(lines) and now != self._lines
        self._lines = now
        return now[1] if changed else None


class TerminalOrders:
    """Lines typed at the terminal, read by one thread for the whole process.

    Args:
        descriptor: File descriptor to read; 0 is the standard input.
    """

    _shared: TerminalOrders | None = None

    def __init__(self, descriptor: int = 0):
        self.descriptor = descriptor
        self._lines: deque[str] = deque()
        self.ended = False
        threading.Thread(target=self._read, name="wallwm-terminal", daemon=True).start()

    @classmethod
    def shared(cls) -> TerminalOrders:
        """The one reader of the standard input; rollouts that follow each other share it."""
        if cls._shared is None:
            cls._shared = cls()
        return cls._shared

    def restart(self) -> None:
        """What was typed before a rollout began is not meant for it."""
        self._lines.clear()

    def newest(self) -> str | None:
        """The last line that was typed."""
        line = None
        while self._lines:
            line = self._lines.popleft()
        return line

    def _read(self) -> None:
        # Not sys.stdin: its lock, held by a thread that waits for a line, aborts the interpreter at the end.
        rest = b""
        while True:
            try:
                data = os.read(self.descriptor, 4096)
            except OSError as error:
                logger.warning("The terminal cannot be read (%s): no more orders will come.", error)
                break
            if not data:
                logger.warning(
                    "The standard input has ended: no more orders will come. The arm holds after this event."
                )
                break
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[-_TAIL:]
            self._lines.extend(text for line in lines if (text := line.decode("utf-8", "replace").strip()))
        self.ended = True


class HumanPlanner(Planner):
    """Does what the newest order says.

    Args:
        orders: Where lines come from.
        templates: Captions that the checkpoint knows; empty if it knows none.
        grammar: Answers `next`; None if the checkpoint has none.
        say: Called with (accepted, the line, why not) for every order.
        prompt: Called with a question whenever the arm has nothing to do.
    """

    source = "human"

    def __init__(
        self,
        orders: Orders,
        templates: Sequence[str],
        grammar: GrammarPlanner | None,
        say: Callable[[bool, str, str], None],
        prompt: Callable[[str], None] | None = None,
    ):
        self.orders, self.templates, self.grammar = orders, templates, grammar
        self.say, self.prompt = say, prompt
        self.waiting = True
        self._pending: tuple[str, float | None] | None = None
        self._asked = False

    def begin(self, instruction: str) -> None:
        """The grammar starts over; an order that was not followed yet stays."""
        if self.grammar is not None:
            self.grammar.begin(instruction)
        self.orders.restart()
        self._pending, self._asked = None, False

    def order(self) -> str | None:
        """Reads the newest line; an order that cannot be followed is refused, and changes nothing."""
        line = self.orders.newest()
        if line is None:
            return None
        shown, word = plain_line(line, 200), line.strip().lower()
        self._asked = False
        if word in ("hold", "go", "stop"):
            self._pending = None if word == "stop" else self._pending
            self.say(True, shown, "")
            return word
        try:
            self._pending = self._suggested() if word == "next" else self._caption(line)
        except ValueError as error:
            self.say(False, shown, str(error))
            return None
        self.say(True, shown, "")
        return "switch"

    def next(self) -> str | None:
        """The caption that was ordered, once."""
        if self._pending is None:
            if self.prompt is not None and not self._asked:
                self._asked = True
                self.prompt(self._question())
            return None
        (caption, self.seconds), self._pending = self._pending, None
        if self.grammar is not None:
            self.grammar.did(caption)
        return caption

    def peek(self) -> str | None:
        """The caption that was ordered, or what the grammar expects."""
        return self._expected() if self._pending is None else self._pending[0]

    def _suggested(self) -> tuple[str, None]:
        if (caption := self._expected()) is None:
            raise ValueError("nothing follows in the checkpoint's grammar. Fix: type a caption")
        return caption, None

    def _caption(self, line: str) -> tuple[str, float | None]:
        text, seconds = parse_line(line)
        try:
            caption = clean_caption(text)
        except RefusedCaptionError as error:
            raise ValueError(f"no caption ({error}). Fix: one plain line of words") from error
        if not is_known(caption, self.templates):
            raise ValueError("the checkpoint knows no such event. It knows: " + "; ".join(self.templates))
        return caption, seconds

    def _question(self) -> str:
        expected, known = self._expected(), "; ".join(self.templates) or "any caption"
        hint = f" (next: {expected})" if expected else ""
        return f"Event?{hint} A caption [{known}], or {', '.join(COMMANDS)}:"


def orders_from(place: str) -> Orders:
    """The orders of ``--policy.planner_file``: a file, or `-` for the terminal."""
    return TerminalOrders.shared() if place == TERMINAL else FileOrders(place)


def print_prompt(question: str) -> None:
    """Asks at the terminal, without waiting for the answer."""
    print(question, file=sys.stderr, flush=True)
