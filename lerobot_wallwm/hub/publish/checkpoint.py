# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm publish`: a checkpoint, or a carved dataset, to the Hub in one commit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from lerobot_wallwm.hub.files.safe_files import is_repo_id
from lerobot_wallwm.hub.publish.dataset import check_view, publish_dataset
from lerobot_wallwm.hub.publish.staging import MANAGED, Extras, stage_checkpoint
from lerobot_wallwm.hub.remote.push import Pushed, push_files
from lerobot_wallwm.language.view_facts import read_view


@dataclass
class PolicyPart:
    """Which checkpoint."""

    path: Path | None = None  # the checkpoint to publish: `pretrained_model` of a lerobot-train run


@dataclass
class DatasetPart:
    """A carved view; with ``--policy.path`` only its figures are told, without it is published itself."""

    root: Path | None = None  # a carved view to publish, or with --policy.path the one that it was trained on
    repo_id: str | None = None  # the view's name on the Hub, ``user/name``


@dataclass
class PublishConfig:
    """Flags of `wallwm publish`."""

    policy: PolicyPart = field(default_factory=PolicyPart)  # the checkpoint to publish
    dataset: DatasetPart = field(default_factory=DatasetPart)  # the carved view to publish, or to tell of
    repo_id: str | None = None  # name of the checkpoint on the Hub, ``user/name``
    private: bool | None = None  # whether a repository that is made now is private; None leaves it to the Hub
    branch: str | None = None  # branch to publish on; None is the main one
    check: Path | None = None  # folder that `wallwm check` wrote for this checkpoint
    # `eval_info.json` of `lerobot-eval`, one flag a file, ``--eval=PATH`` or ``--eval=NAME=PATH``.
    eval: list[str] = field(default_factory=list)
    license: str | None = None  # of the checkpoint, as the Hub writes it (``apache-2.0``)
    # Write what would be published into `out` and talk to nobody, except to look up a backbone.
    dry_run: bool = False
    out: Path = Path("outputs/publish")  # folder for `dry_run`
    overwrite: bool = False  # replace an earlier `out`


def gather_evaluations(args: Sequence[str]) -> list[str]:
    """Several ``--eval=`` flags as the one list that draccus understands."""
    given = [arg.removeprefix("--eval=") for arg in args if arg.startswith("--eval=")]
    rest = [arg for arg in args if not arg.startswith("--eval=")]
    if not given or (len(given) == 1 and given[0].startswith("[")):
        return list(args)
    return [*rest, f"--eval={json.dumps(given)}"]


def check_config(config: PublishConfig) -> None:
    """Raises ValueError where it does not say what to publish, or names a folder that is not there; see `publish`."""
    if config.policy.path is None and config.dataset.root is None:
        raise ValueError(
            "nothing to publish. Fix: give --policy.path and --repo_id, or --dataset.root and --dataset.repo_id"
        )
    if config.policy.path is None:
        _name(config.dataset.repo_id, "--dataset.repo_id")
        return
    _name(config.repo_id, "--repo_id")
    if not (folder := config.policy.path.expanduser()).is_dir():
        raise ValueError(
            f"--policy.path={folder}: there is no such folder. Fix: name a checkpoint on this machine"
        )


def publish(config: PublishConfig, read_calibration: Callable[[str], object]) -> Pushed | Path:
    """Runs `wallwm publish`.

    Args:
        config: The flags.
        read_calibration: See `stage_checkpoint`.

    Returns:
        The commit, or the folder of a dry run.

    Raises:
        ValueError: Something is absent, unsafe, or refused by the Hub; nothing has been published.
    """
    check_config(config)
    if config.policy.path is None:
        assert config.dataset.root is not None
        name = _name(config.dataset.repo_id, "--dataset.repo_id")
        root = config.dataset.root.expanduser()
        if config.dry_run:
            return _copied(check_view(root, name), config, "meta/info.json")
        return publish_dataset(root, name, private=config.private, branch=config.branch)
    name = _name(config.repo_id, "--repo_id")
    folder = config.policy.path.expanduser()
    view = None if config.dataset.root is None else read_view(config.dataset.root.expanduser())
    extras = Extras(config.check, config.eval, view, config.license, dataset=config.dataset.repo_id)
    with TemporaryDirectory(prefix="wallwm_publish_") as work:
        files = stage_checkpoint(folder, name, extras, Path(work), read_calibration)
        for place, file in sorted(files.items()):
            print(f"  {place:<60} {file.stat().st_size:>14,} bytes")
        if not config.dry_run:
            return push_checkpoint(files, name, config.private, config.branch)
        return _copied(files, config, "config.json")


def _copied(files: Mapping[str, Path], config: PublishConfig, marker: str) -> Path:
    """What would be published, in the folder of a dry run; ``marker`` is a file that says what an earlier one was."""
    from lerobot_wallwm.storage.atomic import atomic_folder

    with atomic_folder(config.out, overwrite=config.overwrite, marker=marker) as out:
        for place, file in files.items():
            (out / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, out / place)
    return config.out


def push_checkpoint(
    files: Mapping[str, Path], repo_id: str, private: bool | None, branch: str | None = None
) -> Pushed:
    """One commit with a staged checkpoint; see `push_files`."""
    message = "Publish a WALL-WM checkpoint"
    return push_files(files, repo_id, private=private, branch=branch, message=message, managed=MANAGED)


def _name(repo_id: str | None, flag: str) -> str:
    if repo_id is None:
        raise ValueError(f"no name to publish under. Fix: pass {flag}=user/name")
    if not is_repo_id(repo_id):
        raise ValueError(f"{flag}={repo_id}: is no name of a repository. Fix: write it as user/name")
    return repo_id
