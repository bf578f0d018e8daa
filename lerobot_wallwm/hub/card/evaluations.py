# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Successes counted from what `lerobot-eval` wrote (`eval_info.json`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lerobot_wallwm.hub.card.intervals import wilson_interval
from lerobot_wallwm.hub.files.safe_files import read_object


@dataclass(frozen=True)
class Evaluation:
    """One row of the success table."""

    name: str  # what was evaluated, in the publisher's words
    task: str  # group and number of the environment's task, as `lerobot-eval` names them
    successes: int  # episodes that succeeded
    episodes: int
    interval: tuple[float, float]  # Wilson's, 95 %


def read_evaluations(argument: str) -> list[Evaluation]:
    """Counts the successes in a file.

    Args:
        argument: ``PATH`` or ``NAME=PATH`` of an `eval_info.json`, or of the folder that holds it.

    Returns:
        One entry a task of the environment.

    Raises:
        ValueError: The file holds no outcomes of single episodes.
    """
    name, _, path = argument.rpartition("=")
    file = Path(path).expanduser()
    if file.is_dir():
        file = file / "eval_info.json"
    name = name or file.parent.name
    tasks = read_object(file).get("per_task")
    if not isinstance(tasks, list) or not tasks:
        raise ValueError(
            f"{file}: 'per_task' holds no task. Fix: give an eval_info.json that lerobot-eval 0.6 wrote"
        )
    return [_row(file, name, number, task) for number, task in enumerate(tasks)]


def _row(file: Path, name: str, number: int, task: Any) -> Evaluation:
    metrics = task.get("metrics") if isinstance(task, dict) else None
    outcomes = metrics.get("successes") if isinstance(metrics, dict) else None
    if not isinstance(outcomes, list) or not outcomes or not all(type(o) is bool for o in outcomes):
        raise ValueError(
            f"{file}: per_task.{number}.metrics.successes must be a list of true and false, one an episode. "
            "Fix: run lerobot-eval again"
        )
    label = f"{task.get('task_group', '')} {task.get('task_id', '')}".strip()
    wins = sum(outcomes)
    return Evaluation(name, label, wins, len(outcomes), wilson_interval(wins, len(outcomes)))
