# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Safetensors into modules, one tensor at a time.

Nothing is held twice: a module on the meta device takes each tensor as it is read. Nothing is skipped in silence: what
is missing, unexpected or of another shape is listed and raises before the first tensor is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lerobot_wallwm.hub.files.safe_files import WeightsError, read_object

_LISTED = 8  # keys named in an error; the rest is counted


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies, and what its file's header says of it."""

    file: Path
    shape: tuple[int, ...]
    is_floating: bool
    key: str  # in that file


def weight_files(folder: Path, fix: str) -> list[Path]:
    """The safetensors of a folder that `save_pretrained` wrote: the shards that its index names, or its only file.

    Raises:
        WeightsError: No safetensors, several without an index, or a shard of the index is absent.
    """
    indices = sorted(folder.glob("*.safetensors.index.json"))
    if len(indices) > 1:
        names = ", ".join(index.name for index in indices)
        raise WeightsError(folder, f"holds several weight indices ({names}).", fix)
    if not indices:
        files = sorted(folder.glob("*.safetensors"))
        if len(files) != 1:
            found = ", ".join(file.name for file in files) or "none"
            problem = f"must hold one .safetensors file or an index of several; found {found}."
            raise WeightsError(folder, problem, fix)
        return files
    shards = read_object(indices[0], fix).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise WeightsError(indices[0], "has no 'weight_map'.", fix)
    for name in shards.values():  # a shard lies beside its index, or it is none of the folder's
        if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
            raise WeightsError(indices[0], f"names {name!r}, which is no file of its folder.", fix)
    files = [folder / name for name in sorted(set(shards.values()))]
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise WeightsError(indices[0], f"names files that are not there: {', '.join(absent)}.", fix)
    return files


def contents(files: Iterable[Path], fix: str) -> dict[str, Entry]:
    """What the headers of some safetensors files promise; a file cut short is found here.

    Raises:
        WeightsError: A file is absent, truncated or no safetensors file, or two files hold the same key.
    """
    entries: dict[str, Entry] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                for key in opened.keys():  # noqa: SIM118  not a mapping
                    part = opened.get_slice(key)
                    if key in entries:
                        problem = f"holds '{key}', which {entries[key].file.name} holds too."
                        raise WeightsError(file, problem, fix, [key])
                    floating = part.get_dtype().startswith(("F", "BF"))
                    entries[key] = Entry(file, tuple(part.get_shape()), floating, key)
        except (SafetensorError, OSError) as error:
            reason = f"is no complete safetensors file ({error})."
            raise WeightsError(file, reason, fix) from error
    return entries


def check_fit(expected: dict[str, Tensor], found: dict[str, Entry], where: str | Path, fix: str) -> None:
    """Raises WeightsError with lists of all keys that are missing, unexpected or of another shape or kind."""
    missing = sorted(expected.keys() - found.keys())
    unexpected = sorted(found.keys() - expected.keys())
    other, shapes = [], []
    for key in sorted(expected.keys() & found.keys()):
        wanted, there = expected[key], found[key]
        if tuple(wanted.shape) != there.shape:
            shapes.append(f"{key} {there.shape} instead of {tuple(wanted.shape)}")
        elif wanted.is_floating_point() != there.is_floating:
            shapes.append(f"{key} (numbers of another kind)")
        else:
            continue
        other.append(key)
    lists = {"missing": missing, "unexpected": unexpected, "mis-shaped": shapes}
    told = "; ".join(f"{len(keys)} {name}: {_some(keys)}" for name, keys in lists.items() if keys)
    if told:
        raise WeightsError(where, f"keys do not fit the model; {told}.", fix, [*missing, *unexpected, *other])


def load_weights(
    module: nn.Module,
    files: Iterable[Path],
    fix: str,
    keys: Iterable[str] | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    names: Mapping[str, str] | None = None,
) -> None:
    """Fills a module from safetensors files, one tensor at a time.

    Tensors on the meta device are replaced, on ``device``; others are overwritten where they are. All are copies: a
    file that changes later changes no weight.

    Args:
        module: What to fill.
        files: The files; together they hold each key once.
        fix: For errors: what the user can do.
        keys: Keys of the module's state to fill; None for all.
        dtype: Of floating tensors that replace meta ones; None keeps the module's own.
        device: For tensors that replace meta ones.
        names: Keys of the module's state by keys of the files; what it does not name is not read. None: the same.

    Raises:
        WeightsError: A damaged file, or keys that do not fit.
    """
    files = list(files)
    where = files[0] if len(files) == 1 else files[0].parent
    found = contents(files, fix)
    if names is not None:
        found = {names[key]: entry for key, entry in found.items() if key in names}
    state = module.state_dict()
    wanted = {key: state[key] for key in (state if keys is None else keys)}
    check_fit(wanted, found, where, fix)
    for file in dict.fromkeys(found[key].file for key in wanted):
        with safe_open(file, framework="pt") as opened:
            for target in (key for key in wanted if found[key].file == file):
                _place(module, target, opened.get_tensor(found[target].key), dtype, device)


@torch.no_grad()
def _place(
    module: nn.Module, key: str, tensor: Tensor, dtype: torch.dtype | None, device: torch.device | str
) -> None:
    owner_name, _, name = key.rpartition(".")
    owner = module.get_submodule(owner_name)
    current = getattr(owner, name)
    if not current.is_meta:
        current.copy_(tensor)
        return
    target = (dtype or current.dtype) if current.is_floating_point() else current.dtype
    value = tensor.to(device, target, copy=True)
    if isinstance(current, nn.Parameter):
        value = nn.Parameter(value, requires_grad=current.requires_grad)
    setattr(owner, name, value)


def _some(items: list[str]) -> str:
    rest = len(items) - _LISTED
    return ", ".join(items[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def require_finite_weights(weights: nn.Module | Path, file: Path, fix: str) -> None:
    """Raises WeightsError, about ``file``, if a tensor of a module or a safetensors file holds NaN or infinity."""
    broken = broken_weights(weights)
    if broken:
        named = ", ".join(broken[:3]) + (", ..." if len(broken) > 3 else "")
        problem = f"{len(broken)} of its tensors hold NaN or infinity ({named})."
        raise WeightsError(file, problem, fix + ".", broken)


def broken_weights(weights: nn.Module | Path) -> list[str]:
    """Names of the tensors of a module or a safetensors file that hold NaN or infinity.

    A file that cannot be read has none: loading it tells what is wrong.
    """
    if isinstance(weights, nn.Module):
        return [name for name, tensor in weights.state_dict().items() if not _finite(tensor)]
    try:
        with safe_open(weights, framework="pt") as opened:
            return [name for name in opened.keys() if not _finite(opened.get_tensor(name))]  # noqa: SIM118
    except SafetensorError:
        return []


def _finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.is_meta:
        return True
    # The sum is finite where all are, and needs no second tensor; where it is not, it may have overflowed.
    return bool(torch.isfinite(tensor.detach().sum())) or bool(torch.isfinite(tensor).all())
