# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Where `wallwm prepare` reads and writes: flags, and the folders that they mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class DatasetConfig:
    """The dataset to prepare."""

    # Its folder on this machine.
    root: Path | None = None
    # Its name on the Hub; fetched by LeRobot where root is not given.
    repo_id: str | None = None
    # Branch, tag or commit on the Hub.
    revision: str | None = None


@dataclass
class FolderConfig:
    """A dataset on this machine."""

    # Its folder.
    root: Path | None = None


@dataclass
class OutputConfig:
    """Where to write."""

    # The output folder; gets train/, heldout/, events.parquet and summary.json.
    root: Path | None = None
    # A name under LeRobot's own cache folder, used where root is not given.
    repo_id: str | None = None


def output_root(out: OutputConfig) -> Path:
    """The folder to write; ValueError where none is given."""
    if out.root is not None:
        return Path(out.root)
    if out.repo_id is None:
        raise ValueError("no output folder. Fix: pass --out.root=<folder> or --out.repo_id=<name>")
    from lerobot.utils.constants import HF_LEROBOT_HOME

    return HF_LEROBOT_HOME / out.repo_id


def source_root(dataset: DatasetConfig) -> Path:
    """The folder to read; LeRobot fetches it where only the name on the Hub is given. ValueError where neither is."""
    if dataset.root is not None:
        return Path(dataset.root)
    if dataset.repo_id is None:
        fix = "pass --dataset.root=<folder> or --dataset.repo_id=<name on the Hub>"
        raise ValueError(f"no dataset. Fix: {fix}")
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return Path(LeRobotDataset(dataset.repo_id, revision=dataset.revision).root)
