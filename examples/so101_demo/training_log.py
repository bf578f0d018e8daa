# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Reads what lerobot-train prints.

A line of LeRobot 0.6.1's MetricsTracker: ``... step:1K smpl:16K ep:12 epch:0.40 loss:0.123 grdn:1.2 lr:1.0e-03 ...``.
Large step counts are rounded there, so steps are counted by lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(r"step:(\S+) smpl:\S+ ep:\S+ epch:\S+ (.*)")
_PAIR = re.compile(r"([A-Za-z_/]+):(-?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|nan|inf))(?=\s|$)")


@dataclass
class TrainingLog:
    """Curves of one run.

    Attributes:
        steps: Step of each logged line.
        curves: Metric name to one value per line; a metric that a line lacks is NaN there.
    """

    steps: list[int]
    curves: dict[str, list[float]]

    def mean(self, name: str, skip: int = 1) -> float:
        """Mean of a metric without its first lines, which hold start-up; NaN if there is none."""
        values = self.curves.get(name, [])
        values = values[skip:] or values
        return sum(values) / len(values) if values else float("nan")


def parse_training_log(text: str, log_freq: int, start_step: int = 0) -> TrainingLog:
    """Curves from the output of lerobot-train.

    Args:
        text: Everything that it printed, progress bars included.
        log_freq: Its ``--log_freq``.
        start_step: The checkpoint's step, for a resumed run.
    """
    steps: list[int] = []
    rows: list[dict[str, float]] = []
    for line in re.split(r"[\r\n]+", text):
        found = _LINE.search(line)
        if not found:
            continue
        first = (start_step // log_freq + 1) * log_freq
        steps.append(steps[-1] + log_freq if steps else first)
        rows.append({name: float(value) for name, value in _PAIR.findall(found.group(2))})
    names = sorted({name for row in rows for name in row})
    nan = float("nan")
    return TrainingLog(steps, {name: [row.get(name, nan) for row in rows] for name in names})


def last_step(text: str) -> str | None:
    """The last ``done/total`` of lerobot-train's progress bar, such as ``120/400``."""
    found = re.findall(r"Training:[^\n]*?(\d+/\d+)", text.replace("\r", "\n"))
    return found[-1] if found else None
