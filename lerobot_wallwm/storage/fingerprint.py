# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Sums that name files by their contents: of all bytes, or of samples where reading gigabytes takes too long."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

_SAMPLES = 64  # per file, evenly spread; any training moves all weights, so a few of them tell
_BYTES = 4096


def sha256_of(file: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprint(files: Iterable[Path]) -> str:
    """Hexadecimal digest of some files' names, sizes and contents; large ones are sampled.

    Two files that agree in size, in their first bytes (a safetensors header) and in all samples count as the same.
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
