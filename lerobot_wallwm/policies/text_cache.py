# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Text features that outlive the encoder which made them: in memory, and one small file per caption on disk."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from pathlib import Path

import filelock
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

logger = logging.getLogger(__name__)


class TextCache:
    """Features of captions, keyed by the caption and by what would encode it.

    Args:
        folder: Where files are kept; made when the first one is written.
        encoder: Identity of the encoder and of everything else that its features depend on.
    """

    def __init__(self, folder: Path, encoder: str):
        self.encoder = encoder
        self.folder = folder / hashlib.sha256(encoder.encode()).hexdigest()[:16]
        self._memory: dict[str, Tensor] = {}

    def _file(self, caption: str) -> Path:
        return self.folder / f"{hashlib.sha256(caption.encode()).hexdigest()[:32]}.safetensors"

    def lock(self) -> filelock.BaseFileLock:
        """For a block that one process at a time may run; it ends with its process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(self.folder / ".lock")

    def get(self, caption: str) -> Tensor | None:
        """Features ``(tokens, E)`` on the CPU, or None.

        A file that cannot be read, or that is about something else, counts as absent: it can be made again.
        """
        if caption in self._memory:
            return self._memory[caption]
        file = self._file(caption)
        if not file.is_file():
            return None
        try:
            with safe_open(file, framework="pt") as opened:
                about = opened.metadata() or {}
                features = opened.get_tensor("features").clone()
        except (SafetensorError, OSError) as error:
            logger.warning("%s: not a readable text feature (%s); encoding the caption again.", file, error)
            return None
        if (about.get("caption"), about.get("encoder")) != (caption, self.encoder) or features.ndim != 2:
            logger.warning("%s: holds another text; encoding the caption again.", file)
            return None
        self._memory[caption] = features
        return features

    def put(self, caption: str, features_LE: Tensor) -> None:
        """Keeps features; on disk they appear whole or not at all."""
        features = features_LE.detach().cpu().contiguous().clone()
        if not torch.isfinite(features).all():
            raise ValueError(f"The features of {caption!r} are not finite; use --policy.dtype=float32.")
        self._memory[caption] = features
        file = self._file(caption)
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=f".{file.name}.partial-", dir=self.folder)
        os.close(handle)
        try:
            save_file({"features": features}, partial, {"caption": caption, "encoder": self.encoder})
            os.replace(partial, file)
        finally:
            Path(partial).unlink(missing_ok=True)
