# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints: where they lie, checked before LeRobot builds anything from them, and how their weights are read.

A checkpoint of the same stage goes on; of another one, the next stage starts from its averages. Base weights are a
checkpoint of some of the model's parts, without an arm's units: training begins with them, and with the other parts new.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from lerobot.configs import PreTrainedConfig
from safetensors import safe_open
from torch import Tensor, nn

from lerobot_wallwm.hub.files.safe_files import is_repo_id
from lerobot_wallwm.hub.files.weights import WeightsError, contents, load_weights
from lerobot_wallwm.hub.remote.pull import fetch_checkpoint, fetch_settings, refuse_unsafe
from lerobot_wallwm.policies.assembly.joints import Joints, comparable, moved, moves, say
from lerobot_wallwm.policies.model.world_action_model import WorldActionModel
from lerobot_wallwm.policies.training.stages import REASONING
from lerobot_wallwm.policies.training.weight_average import PREFIX, WeightAverage, names_after_averages

logger = logging.getLogger(__name__)

# Parts that a later stage adds; a checkpoint holds all of one, or nothing.
_ADDED_LATER = (".chunk_tables.", *(f".reasoner.{part}." for part in REASONING))
_DOWNLOAD = ("token", "cache_dir", "force_download", "local_files_only")
# Which run it is, and where, and not what the checkpoint is.
_OF_THE_RUN = frozenset(
    {
        "pretrained_path",
        "pretrained_revision",
        "device",
        "repo_id",
        "private",
        "push_to_hub",
        "tags",
        "license",
    }
)


def locate_checkpoint(name: str | Path, kwargs: Mapping[str, Any]) -> str | Path:
    """A local folder for a checkpoint's name.

    Args:
        name: Folder, or name on the Hub.
        kwargs: Of LeRobot's `from_pretrained`. Its ``config`` is changed where LeRobot took it from another revision
            than ``revision``; see `_pin`.

    Returns:
        The folder.

    Raises:
        UnsafeCheckpointError: A file that is not opened.
        HubError: The Hub refused.
        FileNotFoundError: It is neither.
    """
    if Path(name).is_dir():
        refuse_unsafe(Path(name))
        return name
    if not is_repo_id(str(name)):
        raise FileNotFoundError(f"{name}: is no folder, and no name on the Hub. Fix: write it as user/name")
    download = {key: kwargs[key] for key in _DOWNLOAD if kwargs.get(key) is not None}
    config, revision = kwargs.get("config"), kwargs.get("revision")
    given = None if config is None else {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    folder = fetch_checkpoint(str(name), revision, given=given, **download)
    if config is not None and revision is not None:
        newest = fetch_settings(str(name), given=given, **download)
        _pin(config, newest, folder, kwargs.get("dataset_meta") is not None)
    return folder


def _pin(config: Any, newest: Path, pinned: Path, training: bool) -> None:
    """Makes a pinned revision hold for the whole checkpoint.

    LeRobot 0.6.1 pins the weights, but `lerobot-train` and `lerobot-eval` read `config.json`, and the latter the
    processors too, from the newest revision (configs/train.py, configs/eval.py). Fields that came from there get the
    pinned revision's value; what the user gave on the command line stays.

    Raises:
        ValueError: In training, the newest revision has already decided what is loaded from the dataset.
    """
    ours, theirs = (PreTrainedConfig.from_pretrained(folder) for folder in (pinned, newest))
    before = (config.observation_delta_indices, config.action_delta_indices)
    changed = []
    for field in dataclasses.fields(config):
        name = field.name
        right, wrong = getattr(ours, name), getattr(theirs, name)
        if name not in _OF_THE_RUN and right != wrong and getattr(config, name) == wrong:
            setattr(config, name, right)
            changed.append(name)
    if changed:
        logger.info("From the pinned revision, and not from the newest: %s.", ", ".join(changed))
    if training and before != (config.observation_delta_indices, config.action_delta_indices):
        raise ValueError(
            "--policy.pretrained_revision: lerobot-train read the window's length from the newest revision, which has "
            "another. Fix: `wallwm pull --repo_id=... --revision=... --out=DIR`, then --policy.path=DIR"
        )
    if not training:
        config.pretrained_path = pinned  # from where lerobot-eval reads the processors


def fresh_parts(expected: Iterable[str], found: Collection[str]) -> list[str]:
    """Keys of parts that a later stage adds and a checkpoint has nothing of: they keep their start."""
    lacking = [part for part in _ADDED_LATER if not any(part in key for key in found)]
    return [key for key in expected if any(part in key for part in lacking)]


def load_checkpoint(
    policy: nn.Module,
    average: WeightAverage | None,
    stage: str,
    file: Path,
    fix: str,
    device: str,
    joints: Callable[[int, int], Joints] | None = None,
    joints_now: Joints | None = None,
    training: bool = False,
) -> list[str]:
    """Fills a policy that has just been built.

    Args:
        policy: With a ``model``, and with ``average``, if it keeps one, as its ``ema.<stage>``.
        average: Begins anew if the checkpoint has none of this stage.
        fix: For errors: what the user can do.
        device: For weights that the policy was built without.
        joints: The checkpoint's, by how many actions and states it has; None: they are the policy's.
        joints_now: The policy's.
        training: Whether the policy was built for a dataset, so that base weights will do.

    Returns:
        Keys that the checkpoint lacks and that keep their start.

    Raises:
        WeightsError: A damaged file, or keys that do not fit.
    """
    found = contents([file], fix)
    updates = {}
    for key, entry in found.items():
        if key.startswith(PREFIX) and key.endswith(".updates"):
            with safe_open(entry.file, framework="pt") as opened:
                updates[key] = int(opened.get_tensor(entry.key))
    own = f"{PREFIX}{stage}."
    names = names_after_averages(found, updates, "model.", () if average is None else (stage,))
    state = policy.state_dict()
    if not any(key.startswith("action_space.") for key in names.values()):
        _load_base(policy, found, file, fix, device, training)
        if average is not None:
            average.begin(policy.get_submodule("model"))
        return []
    fresh = fresh_parts(state, names.values())
    places = {ours: theirs for theirs, ours in names.items()}
    other, before = [], None
    if joints is not None and joints_now is not None:
        sizes = (found.get(f"action_space.{name}") for name in ("scale", "state_mean"))
        before = joints(*(entry.shape[0] if entry else 0 for entry in sizes))
        before, joints_now = comparable(before, joints_now)
        other = [key for key in moves(list(state), before, joints_now) if key in places]
    begins = average is not None and (f"{own}updates" not in updates or bool(other))
    keys = {key for key in state if key not in fresh and not (begins and key.startswith(own))} - set(other)
    names = {theirs: ours for theirs, ours in names.items() if ours not in other}
    load_weights(policy, [file], fix, keys, device=torch.device(device), names=names)
    if other and before is not None and joints_now is not None:
        say(before, joints_now)
        with safe_open(file, framework="pt") as opened, torch.no_grad():
            for key in other:
                old = opened.get_tensor(places[key])
                state[key].copy_(moved(key, old, state[key], before, joints_now))
    if average is not None and begins:
        average.begin(policy.get_submodule("model"))
    return fresh


def _load_base(
    policy: nn.Module, found: Mapping[str, Any], file: Path, fix: str, device: str, training: bool
) -> None:
    parts = sorted({".".join(key.split(".")[:2]) for key in found})
    if not training:
        problem = f"holds base weights ({', '.join(parts)}), and no policy that acts."
        raise WeightsError(file, problem, f"train from it: lerobot-train --policy.path={file.parent} ...")
    keys = [key for key in policy.state_dict() if key.startswith(tuple(f"{part}." for part in parts))]
    load_weights(policy, [file], fix, keys, device=torch.device(device))
    logger.warning("From base weights: %s. All else starts as in a new policy.", ", ".join(parts))


@torch.no_grad()
def start_new_rows(model: WorldActionModel, known: int, rows: int) -> None:
    """Starts rows ``known .. rows - 1`` from those that have learned: the mean of their codes.

    The goal head's inputs from a new camera start at zero: landmarks that it has not learned to read must not move
    the goal. Both are our choice.

    Args:
        model: With a checkpoint's weights.
        known: Rows that the checkpoint's cameras have learned.
        rows: Rows in use now.
    """
    tables: list[Tensor] = [model.video.position, model.video.camera_rope.view_embedding.weight]
    if model.action.place is not None:
        tables.append(model.action.place)
    if model.landmarks is not None:
        tables.append(model.landmarks.identity)
    for table in tables:
        table[known:rows] = table[:known].mean(0)
    if model.goal_head is not None:
        model.goal_head.close_slots(known, rows)
