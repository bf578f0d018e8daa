# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Names that follow from what they name: the same content has the same name on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_SAMPLES = 64  # per file, evenly spread; any training moves all weights, so a few of them tell
_BYTES = 4096


def sha256_of(file: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """64 hexadecimal digits that follow from what JSON can hold.

    Bytes and contiguous arrays in it count by their bytes, without shape and type.
    """

    def plain(buffer: Any) -> str:
        return hashlib.sha256(buffer).hexdigest()

    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=plain)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def fingerprint_of_files(files: Iterable[Path]) -> str:
    """32 hexadecimal digits that follow from some files' names, sizes and contents; no gigabytes are read.

    Of a file above 256 KiB, 64 samples of 4 KiB count. Two files that agree in size and in all samples (the first of them
    holds a safetensors header) count as the same.
    """
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name):
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}:".encode())
        with file.open("rb") as stream:
            if size <= _SAMPLES * _BYTES:
                digest.update(stream.read())
                continue
            for sample in range(_SAMPLES):
                stream.seek((size - _BYTES) * sample // (_SAMPLES - 1))
                digest.update(stream.read(_BYTES))
    return digest.hexdigest()[:32]
