# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the guards did: counted by kind and joint, logged without flooding, and written down line by line."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from typing import Any

from lerobot_wallwm.storage.line_log import LineLog

logger = logging.getLogger(__name__)

# Goals that are not finite, after which the run ends; as many finite ones in a row forgive them (our choice).
MAX_BAD_GOALS = 10
# Seconds between two log lines about the same kind: our choice.
QUIET_S = 2.0


class SafetyError(RuntimeError):
    """Raised where going on would be unsafe; it ends `lerobot-rollout`, which then disconnects the arm."""


class Interventions:
    """A diary of one policy's guards.

    Args:
        path: JSONL file to append one line per intervention to, or None.
    """

    def __init__(self, path: str | None):
        self.log = LineLog(path, "--policy.safety_log")
        self.joints: dict[str, Counter[str]] = {}
        self.largest: dict[str, float] = {}
        self.ticks = 0
        self._quiet_until: dict[str, float] = {}
        self._unsaid: Counter[str] = Counter()

    def add(
        self,
        kind: str,
        row: int = 0,
        joint: str | None = None,
        asked: float | None = None,
        sent: float | None = None,
        detail: str = "",
    ) -> None:
        """One intervention.

        Args:
            kind: See docs/act/safety.md.
            row: Robot, or environment of a batch.
            joint: Whose goal was changed; None for all.
            asked, sent: What the policy wanted, and what it gave instead, in the robot's units.
            detail: For a person.
        """
        if joint is not None:
            self.joints.setdefault(kind, Counter())[joint] += 1
        if asked is not None and sent is not None and math.isfinite(asked) and math.isfinite(sent):
            self.largest[kind] = max(self.largest.get(kind, 0.0), abs(asked - sent))
        self._say(kind, joint, asked, sent, detail)
        values = {"asked": _number(asked), "sent": _number(sent)}
        self.log.write(kind, self.ticks, row, joint=joint, **values, detail=detail)

    def report(self) -> dict[str, Any]:
        """Counts since the policy was built.

        Returns:
            ``ticks``, ``interventions`` by kind, ``joints`` by kind and joint, and ``largest_change`` by kind.
        """
        return {
            "ticks": self.ticks,
            "interventions": dict(self.log.counts),
            "joints": {kind: dict(joints) for kind, joints in self.joints.items()},
            "largest_change": dict(self.largest),
        }

    def summary(self) -> str:
        """One line for a person."""
        if not self.log.counts:
            return f"Safety guards: no intervention in {self.ticks} ticks."
        kinds = []
        for kind, count in sorted(self.log.counts.items(), key=lambda item: -item[1]):
            joints = ", ".join(f"{joint} {n}" for joint, n in self.joints.get(kind, Counter()).most_common())
            kinds.append(f"{kind} {count}" + (f" ({joints})" if joints else ""))
        return f"Safety guards: {'; '.join(kinds)} in {self.ticks} ticks."

    def forget(self) -> None:
        """Counts from nothing again."""
        self.log.counts.clear()
        self.joints, self.largest, self.ticks = {}, {}, 0

    def __del__(self) -> None:
        """The summary, where anything happened: LeRobot's rollout lets go of the policy when it ends."""
        if self.log.counts:
            logger.warning("%s", self.summary())

    def _say(
        self, kind: str, joint: str | None, asked: float | None, sent: float | None, detail: str
    ) -> None:
        now = time.monotonic()
        if now < self._quiet_until.get(kind, 0.0):
            self._unsaid[kind] += 1
            return
        self._quiet_until[kind] = now + QUIET_S
        what = "" if asked is None or sent is None else f": asked {asked:.4g}, sent {sent:.4g}"
        more = f" ({self._unsaid[kind]} more since the last line)" if self._unsaid[kind] else ""
        self._unsaid[kind] = 0
        joint_text = f" {joint}" if joint else ""
        detail_text = f" {detail}" if detail else ""
        logger.warning("Safety guard '%s'%s%s%s%s", kind, joint_text, what, detail_text, more)

    def __deepcopy__(self, memo: dict[int, Any]) -> Interventions:
        """A copied policy keeps a diary of its own."""
        return Interventions(None if self.log.path is None else str(self.log.path))


def _number(value: float | None) -> float | str | None:
    """JSON has no NaN."""
    return value if value is None or math.isfinite(value) else str(value)
