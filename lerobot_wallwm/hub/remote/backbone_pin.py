# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A published checkpoint finds its frozen Wan parts on the Hub, at one commit, and never in a folder of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lerobot_wallwm.hub.files.backbones import BACKBONES, BackboneSource
from lerobot_wallwm.hub.files.safe_files import COMMIT
from lerobot_wallwm.hub.files.weights import WeightsError
from lerobot_wallwm.hub.remote.errors import patiently
from lerobot_wallwm.storage.fingerprint import sha256_of

_FROZEN = ("vae", "text_encoder")


def pinned_backbone(config: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a configuration that name its backbone on the Hub instead of locally.

    Args:
        config: `config.json` of a checkpoint.

    Returns:
        ``backbone_path`` and ``backbone_revision``; empty for a checkpoint without a backbone.

    Raises:
        WeightsError: A local backbone that is not the published one, which a reader could therefore not find.
        HubError: The Hub cannot be asked.
    """
    name, path, revision = (
        config.get("backbone"),
        config.get("backbone_path"),
        config.get("backbone_revision"),
    )
    if name not in BACKBONES:
        return {}
    if path is None and isinstance(revision, str) and COMMIT.fullmatch(revision):
        return {"backbone_path": None, "backbone_revision": revision}
    from huggingface_hub import HfApi

    repo_id = BACKBONES[name].repo_id
    info = patiently(
        lambda: HfApi().model_info(repo_id, revision=revision, files_metadata=True), "reading", repo_id
    )
    theirs = {file.rfilename: file.lfs.sha256 for file in info.siblings or [] if file.lfs is not None}
    if path is not None:
        for part in _FROZEN:
            folder = BackboneSource(name, path).part(part)
            for file in sorted(folder.glob("*.safetensors")):
                if theirs.get(f"{part}/{file.name}") != sha256_of(file):
                    problem = (
                        f"is not that of {repo_id} at {info.sha}, where readers of the checkpoint would look."
                    )
                    fix = "publish only checkpoints that were trained from the published backbone"
                    raise WeightsError(file, problem, fix)
    return {"backbone_path": None, "backbone_revision": info.sha}
