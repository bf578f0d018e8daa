# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Settings of a checkpoint that name code, files or servers, and the check of a whole checkpoint folder.

LeRobot builds a processor step from a registered name or, failing that, imports the class that the file names. The
second is how a checkpoint would run code, so it is refused before LeRobot sees the file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from lerobot_wallwm.hub.files.safe_files import (
    TRUST,
    UnsafeCheckpointError,
    check_names,
    check_plain_name,
    is_repo_id,
    read_object,
    tensor_shapes,
)

# What a checkpoint consists of, besides the state of its processors and a calibration. `LEARNED` is what a policy learned
# from its data, apart from what a person chose; all other names of settings are LeRobot's.
WEIGHTS, TRAIN_CONFIG = "model.safetensors", "train_config.json"
CONFIG, LEARNED = "config.json", "learned.json"
PROCESSORS = ("policy_preprocessor.json", "policy_postprocessor.json")
# LeRobot's own steps of our pipelines; the others are ours and begin with `wallwm_`. Steps that load further files,
# such as its tokenizer steps, are not among them.
STEPS = frozenset(
    {
        "rename_observations_processor",
        "to_batch_processor",
        "device_processor",
        "normalizer_processor",
        "unnormalizer_processor",
    }
)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.I)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
# Settings that name a file which is read or written wherever the policy runs, relative to who knows what.
_FILE_KEY = re.compile(r"(?:_file|_log|_path|_cache|_dir)$|^(?:root|folder)$")
# Where a word that begins with a slash is meant as text. A caption is never opened.
TEXTS = frozenset({"script", "tags", "license", "event_transitions", "event_max_frames", "instructions"})
# Names of other checkpoints, which may be Hub names or paths.
_CHECKPOINTS = frozenset({"pretrained_path", "repo_id"})


def is_path(text: str) -> bool:
    """Whether a string is an absolute path, or a relative one that climbs."""
    return text.startswith(("/", "~", "\\\\")) or bool(_DRIVE.match(text)) or ".." in re.split(r"[\\/]", text)


def is_url(text: str) -> bool:
    """Whether a string names a server."""
    return bool(_URL.match(text))


def names_file(key: str) -> bool:
    """Whether a setting of this name holds a file or folder; `pretrained_path` may be a name on the Hub instead."""
    return bool(_FILE_KEY.search(key)) and key not in _CHECKPOINTS


def strings(value: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """All strings in a JSON value that are values, with the keys that lead to them."""
    if isinstance(value, str):
        yield keys, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(item, (*keys, key))
    elif isinstance(value, list):
        for item in value:
            yield from strings(item, keys)


def check_config(file: Path, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Reads a `config.json` from elsewhere; it may name no file outside its folder, and no server.

    Args:
        file: The file.
        given: The settings that are used instead, if the file's are not: where they differ, the user gave others.

    Raises:
        UnsafeCheckpointError: It is no configuration of `wallwm`, or a field leads elsewhere.
    """
    config = read_object(file)
    if config.get("type") != "wallwm":
        problem = f"is the configuration of {str(config.get('type'))[:40]!r}, not of 'wallwm'."
        raise UnsafeCheckpointError(file, problem, "choose a checkpoint of the wallwm policy")
    overridden = {
        key for key, value in config.items() if given is not None and given.get(key, value) != value
    }
    # What this version of the policy has by itself, whoever's checkpoint it loads.
    overridden |= {field.name for field in fields(policy_config()) if config.get(field.name) == field.default}
    _check_strings(file, config, overridden)
    if config.get("calibration") is not None and "calibration" not in overridden:
        check_plain_name(config["calibration"], f"{file}: calibration", ".json")
    return config


def check_settings(
    folder: Path, names: Collection[str], given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """`check_config` for `config.json`, which it returns, and the same for what was learned, if `names` has it."""
    if LEARNED in names:
        _check_strings(folder / LEARNED, read_object(folder / LEARNED))
    return check_config(folder / CONFIG, given)


def policy_config() -> Any:
    """The class of the policy's configuration, which the plugin has registered with LeRobot."""
    from lerobot.configs import PreTrainedConfig

    return PreTrainedConfig.get_choice_class("wallwm")


def _check_strings(file: Path, settings: Mapping[str, Any], trusted: Collection[str] = ()) -> None:
    for keys, text in strings(settings):
        if keys[0] in trusted or keys[0] in TEXTS:
            continue
        name = ".".join(keys)
        if keys[0] in _CHECKPOINTS and (text == "" or is_repo_id(text)):
            continue
        if is_url(text):
            problem = f"{name} names a server ({text[:80]!r}), to which this machine would talk."
        elif is_path(text) or names_file(keys[-1]):
            problem = f"{name} leads out of the checkpoint's folder ({text[:80]!r})."
        else:
            continue
        raise UnsafeCheckpointError(file, problem, f"give your own --policy.{name}=..., or null, or {TRUST}")


def check_processor(file: Path) -> list[str]:
    """Reads a processor pipeline's JSON; all its steps must be known by name.

    Returns:
        Files with the state of its steps, which lie beside it.

    Raises:
        UnsafeCheckpointError: A step names a class to import, an unknown step, a file elsewhere, or a server.
    """
    from lerobot.processor import ProcessorStepRegistry

    ours = {name for name in ProcessorStepRegistry.list() if name.startswith("wallwm_")}
    steps = read_object(file).get("steps")
    if not isinstance(steps, list):
        raise UnsafeCheckpointError(file, "has no list of steps.", TRUST)
    files = []
    for number, step in enumerate(steps):
        where = f"{file}: step {number}"
        if not isinstance(step, dict) or "class" in step or not isinstance(step.get("registry_name"), str):
            named = str(step.get("class"))[:120] if isinstance(step, dict) else "nothing"
            problem = f"names code to import ({named!r}) instead of a registered step."
            raise UnsafeCheckpointError(where, problem, TRUST)
        if step["registry_name"] not in STEPS | ours:
            problem = f"{step['registry_name'][:80]!r} is no step of this policy."
            raise UnsafeCheckpointError(where, problem, f"install the version that wrote it, or {TRUST}")
        if not isinstance(step.get("config", {}), dict):
            raise UnsafeCheckpointError(where, "'config' must be an object.", TRUST)
        for keys, text in strings(step.get("config", {})):
            if is_url(text) or is_path(text) or (keys and names_file(keys[-1])):
                problem = f"config.{'.'.join(keys)} leads out of the checkpoint ({text[:80]!r})."
                raise UnsafeCheckpointError(where, problem, TRUST)
        if step.get("state_file") is not None:
            files.append(check_plain_name(step["state_file"], where, ".safetensors"))
    return files


def needed_files(config: Mapping[str, Any], names: Collection[str]) -> list[str]:
    """Files of a listing that loading and reading a checkpoint may need; they lie at its top."""
    needed = [n for n in (WEIGHTS, CONFIG, LEARNED, TRAIN_CONFIG, *PROCESSORS) if n in names]
    if config.get("calibration") in names:
        needed.append(config["calibration"])
    return needed


def check_checkpoint(
    folder: Path, names: Collection[str], *, foreign: bool, given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Checks a checkpoint folder before anything of it is used.

    Args:
        folder: Holds what `needed_files` names, and the processors' state.
        names: All files of the checkpoint, also such that were not downloaded.
        foreign: From the Hub: its settings may not lead out of its folder. One's own may.
        given: See `check_config`.

    Returns:
        The configuration.

    Raises:
        UnsafeCheckpointError: Names file and reason.
    """
    check_names(names)
    config = check_settings(folder, names, given) if foreign else read_object(folder / CONFIG)
    for processor in PROCESSORS:
        if (folder / processor).is_file():
            for state in check_processor(folder / processor):
                tensor_shapes(folder / state)
    tensor_shapes(folder / WEIGHTS)
    return config
