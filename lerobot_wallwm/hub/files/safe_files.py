# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a checkpoint's files may be, decided from their names and first bytes, before anything reads them.

A checkpoint is weights in safetensors and settings in JSON. Nothing in it may run code or reach outside its folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Formats that are, or may hold, pickles or programs. A checkpoint that has one is refused, even though nothing here
# would open it: somebody else's tool might.
_PICKLES = re.compile(
    "bin|ckpt|dill|joblib|h5|hdf5|keras|mar|msgpack|nemo|npy|npz|pb|pickle|pkl|pt|pth|pt2|ptl|t7|tar|whl|zip"
)
_PROGRAMS = re.compile("bat|cmd|dll|dylib|exe|js|jar|ps1|py|pyc|pyd|pyx|sh|so")
# Our choice: settings are kilobytes; a whole grammar of events fits many times.
MAX_JSON_BYTES = 50_000_000
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")
_REPO_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,95})/[A-Za-z0-9](?:[A-Za-z0-9._-]{0,95})")
COMMIT = re.compile(r"[0-9a-f]{40}")


class WeightsError(ValueError):
    """Weights that are absent, damaged, or another model's.

    Attributes:
        file: The file or folder at fault.
        keys: The keys at fault, if it is about keys.
        problem: What is wrong.
        fix: What the user can do about it.
    """

    def __init__(self, file: str | Path, problem: str, fix: str, keys: Iterable[str] = ()):
        self.file, self.problem, self.fix, self.keys = str(file), problem, fix, tuple(keys)
        super().__init__(f"{file}: {problem} Fix: {fix}")


class UnsafeCheckpointError(WeightsError):
    """A checkpoint that is not opened, because of what it is and not only because it does not fit."""


TRUST = "do not use this checkpoint; ask its author for one that `wallwm publish` or lerobot-train wrote"


def is_repo_id(name: str) -> bool:
    """Whether a string is a Hub name like ``me/model``, and no path."""
    return bool(_REPO_ID.fullmatch(name)) and ".." not in name and "--" not in name


def check_name(name: str) -> None:
    """Raises UnsafeCheckpointError for a file name, relative and with ``/`` as the Hub lists it, that is unsafe.

    It leaves its folder, or its format can hold code: a pickle or a program.
    """
    parts = name.split("/")
    if (
        not name
        or "\\" in name
        or ":" in name
        or any(ord(letter) < 32 or ord(letter) == 127 for letter in name)
        or any(part in ("", ".", "..") for part in parts)
    ):
        raise UnsafeCheckpointError(repr(name), "a file name that leaves the checkpoint's folder.", TRUST)
    # model.pt.json is JSON; model.json.pt is not.
    suffix = parts[-1].rpartition(".")[2].lower()
    if _PICKLES.fullmatch(suffix):
        raise UnsafeCheckpointError(name, "may hold a pickle, which runs code when it is opened.", TRUST)
    if _PROGRAMS.fullmatch(suffix):
        raise UnsafeCheckpointError(name, "is a program; a checkpoint has none.", TRUST)


def check_names(names: Iterable[str]) -> None:
    """`check_name` for all of them."""
    for name in names:
        check_name(name)


def check_plain_name(value: Any, where: str | Path, suffix: str) -> str:
    """A file named by another one, beside it and without any folder; UnsafeCheckpointError for anything else."""
    if not isinstance(value, str) or not _PLAIN_NAME.fullmatch(value) or not value.endswith(suffix):
        problem = f"names the file {value!r}; it may only name a {suffix} file that lies beside it."
        raise UnsafeCheckpointError(where, problem, TRUST)
    return value


def read_object(file: Path, fix: str = "download or save the checkpoint again") -> dict[str, Any]:
    """A JSON object of bounded size, without duplicate keys (which two readers may see differently).

    Raises:
        UnsafeCheckpointError: It is none; ``fix`` says what the user can do.
    """
    try:
        size = file.stat().st_size
        if size > MAX_JSON_BYTES:
            problem = f"has {size} bytes; settings have at most {MAX_JSON_BYTES}."
            raise UnsafeCheckpointError(file, problem, TRUST)
        value = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except FileNotFoundError:
        raise UnsafeCheckpointError(file, "there is no such file.", fix) from None
    except UnsafeCheckpointError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnsafeCheckpointError(file, f"cannot be read as JSON ({reason}).", fix) from None
    if not isinstance(value, dict):
        raise UnsafeCheckpointError(file, "must hold a JSON object.", fix)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key appears twice")
    return value


def tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Shape by name of the tensors in a safetensors file, whose header the library holds against the file's bytes.

    Raises:
        UnsafeCheckpointError: Too short, a header that is oversized or no JSON, tensors that overlap, leave gaps,
            reach beyond the file, or whose shape disagrees with their bytes.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np") as opened:
            return {key: tuple(opened.get_slice(key).get_shape()) for key in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        fix = f"download or save the file again; if that does not help, {TRUST}"
        raise UnsafeCheckpointError(file, f"is no complete safetensors file ({reason}).", fix) from None
