# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the tests read back, and the plain reference of a synchronised episode."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from lerobot_wallwm.processors.clean.cleaner import CLEANING_SCHEMA, Finding, Verdict
from lerobot_wallwm.processors.source.episodes import Episode, read_parquet
from lerobot_wallwm.processors.synchronize.source import SYNC_SCHEMA, SyncVerdict, Vote


def synchronized(episode: Episode, verdict: SyncVerdict) -> Episode:
    """The episode on the video's time: frames without picture, state and action are trimmed from its ends."""
    frames = np.arange(verdict.first_frame, verdict.end_frame)
    effort = None if episode.effort is None else episode.effort[frames - verdict.lag]
    state, action = episode.state[frames - verdict.lag], episode.action[frames - verdict.action_lag]
    return replace(episode, state=state, action=action, effort=effort)


def read_verdicts(path: str | Path) -> list[SyncVerdict]:
    """Reads what `write_verdicts` wrote.

    Raises:
        DataError: The file is missing, truncated, or lacks a column.
    """
    table = read_parquet(path, SYNC_SCHEMA.names, "run `wallwm prepare --synchronize=true` again to write it")
    verdicts = []
    for row in table.select(SYNC_SCHEMA.names).to_pylist():
        row["votes"] = tuple(Vote(**vote) for vote in row["votes"])
        row["action_delay"] = float("nan") if row["action_delay"] is None else row["action_delay"]
        verdicts.append(SyncVerdict(**row))
    return verdicts


def read_cleaning(path: str | Path) -> list[Verdict]:
    """Reads `cleaning.parquet`."""
    table = read_parquet(path, CLEANING_SCHEMA.names, "run `wallwm prepare` again to write it")
    grouped: dict[int, list[Finding]] = {}
    columns = [table.column(name).to_pylist() for name in CLEANING_SCHEMA.names]
    for index, *values in zip(*columns, strict=True):
        grouped.setdefault(index, []).append(Finding(*values))
    return [Verdict(index, tuple(found)) for index, found in grouped.items()]
