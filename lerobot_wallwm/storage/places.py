# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Where `wallwm prepare` reads and writes: flags, and the folders that they mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# How long the Hub may take to answer at all, seconds (our choice).
PATIENCE_S = 5.0


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
    from lerobot.utils.constants import HF_LEROBOT_HOME

    here = HF_LEROBOT_HOME / dataset.repo_id
    if (here / "meta" / "info.json").is_file() and dataset.revision is None:
        return here
    return _fetched(dataset.repo_id, dataset.revision)


def _fetched(repo_id: str, revision: str | None) -> Path:
    """The folder of a dataset of the Hub, once it is there; ValueError, within seconds, where it cannot be had."""
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
    from lerobot.datasets.lerobot_dataset import LeRobotDataset
    from lerobot.utils.constants import HF_LEROBOT_HOME

    try:
        try:
            # Asked first, because LeRobot tries for half a minute where there is no network.
            HfApi().dataset_info(repo_id, revision=revision, timeout=PATIENCE_S)
        except (OfflineModeIsEnabled, httpx.TransportError) as error:
            if not list(
                (HF_LEROBOT_HOME / "hub").glob(f"datasets--{repo_id.replace('/', '--')}/snapshots/*")
            ):
                raise error
        return Path(LeRobotDataset(repo_id, revision=revision).root)
    except (OSError, ValueError, httpx.TransportError, HfHubHTTPError, HFValidationError) as error:
        why = (
            "offline (HF_HUB_OFFLINE=1)" if isinstance(error, OfflineModeIsEnabled) else type(error).__name__
        )
        raise ValueError(
            f"--dataset.repo_id={repo_id}: is not under {HF_LEROBOT_HOME}, and not to be had from the Hub ({why}). Fix: check "
            "the name and the network, log in with `hf auth login` where it is private, or pass --dataset.root=<folder>"
        ) from error
