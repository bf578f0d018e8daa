# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a checkpoint's files may be, decided from their names and first bytes, before anything reads them.

A checkpoint is weights in safetensors and settings in JSON. Nothing in it may run code or reach outside its folder.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeGuard

# Formats that are, or may hold, pickles or programs. A checkpoint that has one is refused, even though nothing here
# would open it: somebody else's tool might.
_PICKLES = re.compile(
    "bin|ckpt|dill|joblib|h5|hdf5|keras|mar|msgpack|nemo|npy|npz|pb|pickle|pkl|pt|pth|pt2|ptl|t7|tar|whl|zip"
)
_PROGRAMS = re.compile("bat|cmd|dll|dylib|exe|js|jar|ps1|py|pyc|pyd|pyx|sh|so")
# safetensors' own limit on a header.
MAX_HEADER_BYTES = 100_000_000
# Our choice: settings are kilobytes; a whole grammar of events fits many times.
MAX_JSON_BYTES = 50_000_000
_DTYPE_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
}
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


def safetensors_header(file: Path, fix: str | None = None) -> tuple[str, dict[str, Any]]:
    """The header of a safetensors file, after checking that it tells the truth about the file.

    Returns:
        Its text as it is in the file (with padding), and what it says: name -> ``{dtype, shape, data_offsets}``, and
        perhaps ``__metadata__``.

    Raises:
        UnsafeCheckpointError: Too short, a header that is oversized or no JSON, tensors that overlap, leave gaps,
            reach beyond the file, or whose shape disagrees with their bytes.
    """
    fix = fix or "download or save the file again; if that does not help, " + TRUST
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            start = stream.read(8)
            if len(start) < 8:
                raise UnsafeCheckpointError(file, f"has {size} bytes and is no safetensors file.", fix)
            length = int.from_bytes(start, "little")
            if length > MAX_HEADER_BYTES or length > size - 8:
                limit = f"the file has {size} bytes, and {MAX_HEADER_BYTES} are allowed"
                raise UnsafeCheckpointError(file, f"claims a header of {length} bytes; {limit}.", fix)
            text = stream.read(length).decode("utf-8")
        header = json.loads(text, object_pairs_hook=_unique)
    except FileNotFoundError:
        raise UnsafeCheckpointError(file, "is no complete safetensors file (there is none).", fix) from None
    except UnsafeCheckpointError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnsafeCheckpointError(file, f"its header is no JSON ({reason}).", fix) from None
    if not isinstance(header, dict):
        raise UnsafeCheckpointError(file, "its header must be a JSON object.", fix)
    if lie := _lie(header, size - 8 - length):
        problem = f"is no complete safetensors file, or its header lies: {lie}."
        raise UnsafeCheckpointError(file, problem, fix)
    return text, header


def _lie(header: dict[str, Any], data_bytes: int) -> str | None:
    """What a header says that cannot be true of ``data_bytes`` bytes; None if it is sound."""
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        return "__metadata__ must hold strings"
    spans = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if not isinstance(entry, dict):
            return f"tensor {name[:80]!r} has no entry"
        shape, offsets, dtype = entry.get("shape"), entry.get("data_offsets"), entry.get("dtype")
        if not isinstance(dtype, str) or dtype not in _DTYPE_BITS:
            return f"tensor {name[:80]!r} has the unknown type {str(dtype)[:20]!r}"
        if not _whole_numbers(shape) or not _whole_numbers(offsets) or len(offsets) != 2:
            return f"tensor {name[:80]!r} has no proper shape and offsets"
        if offsets[1] - offsets[0] != math.prod(shape) * _DTYPE_BITS[dtype] // 8:
            return f"tensor {name[:80]!r} of shape {shape} does not fill its bytes {offsets}"
        spans.append((offsets[0], offsets[1], name))
    position = 0
    for begin, end, name in sorted(spans):
        if begin != position:
            return f"tensor {name[:80]!r} begins at byte {begin} instead of {position} (a gap or an overlap)"
        position = end
    if position != data_bytes:
        return f"tensors take {position} bytes, the file has {data_bytes}"
    return None


def _whole_numbers(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(number) is int and 0 <= number < 2**63 for number in value)
