# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The files of a checkpoint: where they are, and whether they are complete."""

from __future__ import annotations

import json
import os
from pathlib import Path

from lerobot_wallwm.storage.errors import DataError

WEIGHTS = "model.safetensors"
# Never pickle: only what a wallwm checkpoint consists of is fetched.
PATTERNS = ["*.json", "*.safetensors"]


def policy_folder(path: str, revision: str | None = None) -> Path:
    """The folder of a checkpoint on this machine; a name on the Hub is fetched first.

    Args:
        path: Folder, or ``user/name``.
        revision: Branch, tag or commit of the latter.

    Raises:
        DataError: There is no such folder, a file is missing, or it is another policy's.
        ValueError: The Hub does not have it, or cannot be reached.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        if folder.is_absolute() or path.startswith(("./", "../", "~")) or path.count("/") != 1:
            raise DataError(
                path, "folder", "is not there", "pass the pretrained_model folder of a lerobot-train run"
            )
        folder = _fetch(path, revision)
    for name in ("config.json", WEIGHTS, "policy_preprocessor.json", "policy_postprocessor.json"):
        if not (folder / name).is_file():
            inner = folder / "pretrained_model"
            fix = (
                f"pass {os.path.join(path, 'pretrained_model')}"
                if (inner / name).is_file()
                else "pass the pretrained_model folder of a lerobot-train run"
            )
            raise DataError(path, name, "is missing", fix)
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("type")
    except (ValueError, AttributeError) as error:
        raise DataError(
            Path(path) / "config.json", "file", f"cannot be read ({error})", "save the checkpoint again"
        ) from error
    if kind != "wallwm":
        raise DataError(
            Path(path) / "config.json",
            "type",
            f"is {kind!r}, and only wallwm is checked here",
            "pass a checkpoint of --policy.type=wallwm",
        )
    return folder


def _fetch(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=PATTERNS))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{name}: no such folder here, and not to be had from the Hub ({reason}). Fix: check --policy.path, the "
            "network, and for a private one `hf auth login`"
        ) from error
