# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Names a dataset by what it holds, so that a file made for one dataset is not used with another."""

from __future__ import annotations

import hashlib
import json

from lerobot_wallwm.processors.source.episodes import SourceDataset


def dataset_fingerprint(source: SourceDataset) -> str:
    """`sha256:` and 64 hex digits over the rate, the features and each episode's index, length and tasks.

    The same on every machine and under every folder name. It reads metadata only, so a dataset whose values were
    edited in place keeps its fingerprint. Our choice: what frame numbers and captions refer to.
    """
    features = {
        key: [value.get("dtype"), list(value.get("shape") or ()), source.names(key)]
        for key, value in source.info["features"].items()
    }
    table = source.episodes
    tasks = (
        table.column("tasks").to_pylist() if "tasks" in table.column_names else [source.tasks] * len(source)
    )
    lengths = table.column("length").to_pylist()
    content = {
        "fps": source.fps,
        "features": features,
        "episodes": [list(row) for row in zip(source.episode_indices, lengths, tasks, strict=True)],
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
