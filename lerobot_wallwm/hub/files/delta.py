# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints that hold only the tensors in which they differ from another one, their base.

``model.safetensors`` then has the tensors of its own, with ``wallwm_delta`` in its header, and ``delta.json`` beside
it says where the others are::

    {
      "format": "wallwm-delta/1",
      "base": {"kind": "checkpoint", "repo_id": "me/base", "revision": "<commit>", "fingerprint": "..."},
      "full": {"sha256": "...", "bytes": 14380000, "header": "<header of the whole file>"},
      "from_base": {"model.video.patch.weight": "ema.video.video/patch/weight", ...}
    }

A ``kind`` of ``backbone`` names a published video model instead (its ``backbone`` is a key of `BACKBONES`), whose
``transformer/`` a video tower starts from. Tensors are matched by their bytes, not by their names, because a stage's
averages become the next stage's weights. Whole files are rebuilt byte for byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from lerobot_wallwm.hub.files.backbones import BACKBONES, FIX as BACKBONE_FIX, BackboneSource
from lerobot_wallwm.hub.files.fingerprint import fingerprint
from lerobot_wallwm.hub.files.safe_files import (
    COMMIT,
    UnsafeCheckpointError,
    is_repo_id,
    read_object,
    safetensors_header,
)
from lerobot_wallwm.hub.files.safe_settings import DELTA, WEIGHTS
from lerobot_wallwm.hub.files.weights import Entry, WeightsError, contents, weight_files

FORMAT = "wallwm-delta/1"
MARK = "wallwm_delta"
# Our choice: a base may be a delta itself, but a chain longer than this is no saving any more.
MAX_CHAIN = 4
# Where a backbone's transformer sits in a policy.
_TOWER = "model.video."
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
FIX = "publish the checkpoint again, or pull it with `wallwm pull --repo_id=... --force_download=true`"

Fetch = Callable[[str, str], Path]


@dataclass(frozen=True)
class Base:
    """What a delta checkpoint is the difference to.

    Attributes:
        kind: ``checkpoint`` or ``backbone``.
        repo_id: On the Hub.
        revision: Commit.
        backbone: Key of `BACKBONES`, if it is one.
        fingerprint: Of its weight files; see `fingerprint`.
    """

    kind: str
    repo_id: str
    revision: str
    fingerprint: str
    backbone: str | None = None

    def as_json(self) -> dict[str, str]:
        """For ``delta.json``."""
        value = {
            "kind": self.kind,
            "repo_id": self.repo_id,
            "revision": self.revision,
            "fingerprint": self.fingerprint,
        }
        return value if self.backbone is None else {**value, "backbone": self.backbone}


@dataclass(frozen=True)
class Delta:
    """A ``delta.json`` that has been read and checked; see the module's text."""

    base: Base
    sha256: str
    size: int
    header: str
    from_base: dict[str, str]


def is_delta(header: Mapping[str, Any]) -> bool:
    """Whether a safetensors header says that its file needs a ``delta.json``."""
    return MARK in header.get("__metadata__", {})


def read_delta(file: Path) -> Delta:
    """Reads a ``delta.json``.

    Raises:
        UnsafeCheckpointError: It is none, or names no commit of a repository.
    """
    value = read_object(file)
    base, full, names = value.get("base"), value.get("full"), value.get("from_base")
    if value.get("format") != FORMAT:
        raise UnsafeCheckpointError(
            file, f"has the format {str(value.get('format'))[:40]!r}, not {FORMAT!r}.", FIX
        )
    if not isinstance(base, dict) or not isinstance(full, dict) or not isinstance(names, dict):
        raise UnsafeCheckpointError(file, "needs 'base', 'full' and 'from_base'.", FIX)
    texts = [base.get(key) for key in ("kind", "repo_id", "revision", "fingerprint")]
    texts += [full.get("sha256"), full.get("header"), *names.values()]
    if not all(isinstance(text, str) for text in texts) or type(full.get("bytes")) is not int:
        raise UnsafeCheckpointError(file, "an entry is absent or of the wrong type.", FIX)
    backbone = base.get("backbone")
    if not is_repo_id(base["repo_id"]) or not COMMIT.fullmatch(base["revision"]):
        problem = f"base must be a repository at a commit, not {base['repo_id'][:80]!r} at {base['revision'][:50]!r}."
        raise UnsafeCheckpointError(file, problem, FIX)
    if base["kind"] == "backbone":
        if backbone not in BACKBONES or BACKBONES[backbone].repo_id != base["repo_id"]:
            raise UnsafeCheckpointError(file, f"{str(backbone)[:40]!r} is no backbone that is known.", FIX)
    elif base["kind"] != "checkpoint":
        raise UnsafeCheckpointError(file, f"base.kind is {base['kind'][:40]!r}.", FIX)
    kept = Base(base["kind"], base["repo_id"], base["revision"], base["fingerprint"], backbone)
    return Delta(kept, full["sha256"], full["bytes"], full["header"], names)


# ---------------------------------------------------------------------- reading


def checkpoint_entries(
    file: Path, fix: str, fetch: Fetch, backbone_path: str | None = None, depth: int = 0
) -> dict[str, Entry]:
    """Where each tensor of a checkpoint lies, in its own file or in its base.

    Args:
        file: Its ``model.safetensors``.
        fix: For errors: what the user can do.
        fetch: Gives the folder of a checkpoint from the Hub, by name and commit.
        backbone_path: Where the backbone lies on this machine, if not in the Hub's cache.
        depth: How many deltas led here.

    Raises:
        WeightsError: A damaged file, or a base that is not the one it was made from.
        UnsafeCheckpointError: A header or a ``delta.json`` that is not what it should be.
    """
    _, header = safetensors_header(file, fix)
    own = contents([file], fix)
    if not is_delta(header):
        return own
    delta_file = file.with_name(DELTA)
    delta = read_delta(delta_file)
    if depth >= MAX_CHAIN:
        raise WeightsError(delta_file, f"is a delta of more than {MAX_CHAIN} deltas.", FIX)
    base = base_entries(delta.base, fetch, backbone_path, depth)
    whole = _header_of(delta, delta_file)
    odd = sorted(
        delta.from_base.keys() - whole.keys()
        | delta.from_base.keys() & own.keys()
        | own.keys() - whole.keys()
    )
    if odd:
        raise WeightsError(delta_file, f"does not fit its weights, for example at '{odd[0]}'.", FIX, odd)
    entries = {}
    for name, told in whole.items():
        entry = base.get(delta.from_base[name]) if name in delta.from_base else own.get(name)
        if entry is None:
            raise WeightsError(delta_file, f"tensor '{name}' is neither here nor in the base.", FIX, [name])
        if entry.shape != tuple(told["shape"]):
            raise WeightsError(delta_file, f"tensor '{name}' has another shape in the base.", FIX, [name])
        entries[name] = entry
    return entries


def base_entries(
    base: Base, fetch: Fetch, backbone_path: str | None = None, depth: int = 0
) -> dict[str, Entry]:
    """Where each tensor of a base lies; a backbone's have the names of a policy's video tower.

    Raises:
        WeightsError: It is not there, or its fingerprint is another.
    """
    if base.kind == "backbone":
        assert base.backbone is not None
        files = weight_files(
            BackboneSource(base.backbone, backbone_path, base.revision).part("transformer"), BACKBONE_FIX
        )
        found = {_TOWER + name: entry for name, entry in contents(files, BACKBONE_FIX).items()}
    else:
        files = [fetch(base.repo_id, base.revision) / WEIGHTS]
        found = checkpoint_entries(files[0], FIX, fetch, backbone_path, depth + 1)
    if fingerprint(files) != base.fingerprint:
        problem = f"is not the base that the delta was made from ({base.repo_id} at {base.revision})."
        raise WeightsError(files[0].parent, problem, FIX)
    return found


def _header_of(delta: Delta, file: Path) -> dict[str, Any]:
    """The tensors of the whole file, by name."""
    try:
        header = json.loads(delta.header)
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        sizes = [entry["data_offsets"][1] for entry in tensors.values() if entry["dtype"] in _DTYPES]
        sound = (
            len(sizes) == len(tensors)
            and 8 + len(delta.header.encode()) + max(sizes, default=0) == delta.size
        )
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        sound = False
    if not sound:
        raise UnsafeCheckpointError(file, "full.header is no header of such a file.", FIX)
    return tensors


# ---------------------------------------------------------------------- making and rebuilding


def _tensor_bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def pieces(header: str, entries: Mapping[str, Entry]) -> Iterator[bytes]:
    """The bytes of a whole safetensors file, from its header and the places of its tensors."""
    encoded = header.encode()
    yield len(encoded).to_bytes(8, "little") + encoded
    tensors = [(name, entry) for name, entry in json.loads(header).items() if name != "__metadata__"]
    with ExitStack() as stack:
        opened: dict[Path, Any] = {}
        for name, told in sorted(tensors, key=lambda item: (item[1]["data_offsets"], item[0])):
            entry = entries[name]
            if entry.file not in opened:
                opened[entry.file] = stack.enter_context(safe_open(entry.file, framework="pt"))
            yield _tensor_bytes(opened[entry.file].get_tensor(entry.key).to(_DTYPES[told["dtype"]]))


def rebuild(file: Path, out: Path, fetch: Fetch, backbone_path: str | None = None) -> None:
    """Writes the whole ``model.safetensors`` of a delta checkpoint.

    Args:
        file: The delta's ``model.safetensors``.
        out: Where to; appears when it is complete and has the sum that the delta promises.
        fetch: See `checkpoint_entries`.
        backbone_path: See `checkpoint_entries`.

    Raises:
        WeightsError: The result is not the file that was published.
    """
    delta = read_delta(file.with_name(DELTA))
    entries = checkpoint_entries(file, FIX, fetch, backbone_path)
    digest = hashlib.sha256()
    partial = out.with_name(f".{out.name}.partial")
    try:
        with partial.open("wb") as stream:
            for piece in pieces(delta.header, entries):
                digest.update(piece)
                stream.write(piece)
        if digest.hexdigest() != delta.sha256:
            raise WeightsError(file, "with its base does not give the file that was published.", FIX)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def make_delta(full: Path, base: Base, base_tensors: Mapping[str, Entry], out: Path) -> Delta:
    """Writes ``model.safetensors`` and ``delta.json`` of a delta checkpoint, and checks that they give ``full`` again.

    Args:
        full: The whole ``model.safetensors``.
        base: What it is the difference to.
        base_tensors: See `base_entries`.
        out: Folder.

    Raises:
        WeightsError: A delta to this base would be no smaller, or the file was not written by safetensors.
    """
    text, header = safetensors_header(full)
    if is_delta(header):
        raise WeightsError(
            full, "is a delta itself.", "pull the whole checkpoint with `wallwm pull --out=...` first"
        )
    told = {name: entry for name, entry in header.items() if name != "__metadata__"}
    strange = sorted(name for name, entry in told.items() if entry["dtype"] not in _DTYPES)
    if strange:
        raise WeightsError(full, "has tensors of a type that no delta can hold.", "publish it whole", strange)
    # A backbone may be stored in half precision; a tower is in float32, and that cast is exact.
    cast = torch.float32 if base.kind == "backbone" else None
    known = {_digest(tensor, cast): name for name, tensor in _tensors(base_tensors)}
    entries = contents([full], "save the checkpoint again")
    same, own = {}, {}
    for name, tensor in _tensors(entries):
        twin = known.get(_digest(tensor))
        if twin is None:
            own[name] = tensor
        else:
            same[name] = twin
    save_file(own, out / WEIGHTS, metadata={**header.get("__metadata__", {}), MARK: DELTA})
    digest = hashlib.sha256()
    with full.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    delta = Delta(base, digest.hexdigest(), full.stat().st_size, text, same)
    value = {
        "format": FORMAT,
        "base": base.as_json(),
        "full": {"sha256": delta.sha256, "bytes": delta.size, "header": delta.header},
        "from_base": same,
    }
    (out / DELTA).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if sum((out / name).stat().st_size for name in (WEIGHTS, DELTA)) >= delta.size:
        problem = (
            f"has too little in common with {base.repo_id} at {base.revision} for a delta to be smaller."
        )
        raise WeightsError(full, problem, "choose another --delta, or publish it whole")
    again = hashlib.sha256()
    theirs = {name: base_tensors[twin] for name, twin in same.items()}
    for piece in pieces(text, {**contents([out / WEIGHTS], FIX), **theirs}):
        again.update(piece)
    if again.hexdigest() != delta.sha256:
        raise WeightsError(full, "cannot be rebuilt from its parts byte for byte.", "publish it whole")
    return delta


def _tensors(entries: Mapping[str, Entry]) -> Iterator[tuple[str, Tensor]]:
    with ExitStack() as stack:
        opened: dict[Path, Any] = {}
        for name in sorted(entries, reverse=True):  # of equal tensors, `known` keeps the first name
            entry = entries[name]
            if entry.file not in opened:
                opened[entry.file] = stack.enter_context(safe_open(entry.file, framework="pt"))
            yield name, opened[entry.file].get_tensor(entry.key)


def _digest(tensor: Tensor, cast: torch.dtype | None = None) -> tuple[torch.dtype, tuple[int, ...], bytes]:
    tensor = tensor.to(cast) if cast is not None and tensor.is_floating_point() else tensor
    return tensor.dtype, tuple(tensor.shape), hashlib.sha256(_tensor_bytes(tensor)).digest()
