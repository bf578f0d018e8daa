# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Reads what `wallwm prepare` left beside the events: `sync.parquet`, `cleaning.parquet`, `clusters.parquet`, `summary.json`.

All of it is optional, and what cannot be read is a warning on the page.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lerobot_wallwm.processors.balance.balancer import gini, normalised_entropy
from lerobot_wallwm.processors.clean.rules import EXCLUDE
from lerobot_wallwm.processors.source.events import Event

_EXAMPLES, _MOST_CLUSTERS = 5, 2000


def plain(value: Any) -> Any:
    """A value as JSON can hold it; long lists and texts are cut."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in list(value.items())[:40]}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value[:24]]
    if isinstance(value, bool | int) or value is None:
        return value
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else str(value)
    return str(value)[:500]


def read_table(path: Path, keys: Sequence[str], warnings: list[str]) -> list[dict[str, Any]]:
    """Rows of an optional table; one that cannot be used is a warning on the page, never an error."""
    if not path.is_file():
        return []
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        warnings.append(f"{path.name} cannot be read: {error}")
        return []
    for key in keys:
        if key not in table.column_names:
            warnings.append(f"{path.name} has no column {key}, so it is not shown")
            return []
    return table.to_pylist()


def episode_facts(folder: Path, warnings: list[str]) -> dict[int, dict[str, Any]]:
    """Per episode: `{"sync": {"bad": bool, "rows": [...]}, "cleaning": {...}}`, for the tables that exist."""
    facts: dict[int, dict[str, Any]] = defaultdict(dict)
    for name in ("sync", "cleaning"):
        for row in read_table(folder / f"{name}.parquet", ["episode_index"], warnings):
            entry = facts[int(row["episode_index"])].setdefault(name, {"bad": False, "rows": []})
            entry["bad"] |= row.get("quarantined") is True or row.get("verdict") == EXCLUDE
            if len(entry["rows"]) < 40:
                entry["rows"].append({k: plain(v) for k, v in row.items() if k != "episode_index"})
    return facts


def read_clusters(folder: Path, events: Sequence[Event], warnings: list[str]) -> list[dict[str, Any]]:
    """Each clustering of the training view, the largest clusters first: size, share before and after balancing, examples."""
    by_id = {event.event_id: event for event in events}
    rows = read_table(folder / "clusters.parquet", ["event_id", "split", "copies"], warnings)
    rows = [row for row in rows if row["split"] == "train" and row["event_id"] in by_id]
    result = []
    for name in (name for name in (rows[0] if rows else {}) if name.endswith("_cluster")):
        members: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            members[row[name]].append(row)
        clusters: list[dict[str, Any]] = []
        drawn = sum(row["copies"] for row in rows)
        for cluster, own in sorted(members.items(), key=lambda item: -len(item[1]))[:_MOST_CLUSTERS]:
            inside = [by_id[row["event_id"]] for row in own]
            some = inside[:: max(1, len(inside) // _EXAMPLES)][:_EXAMPLES]
            captions = [caption for caption, _ in Counter(e.caption for e in inside).most_common(3)]
            examples = [[e.episode_index, e.start, e.end, e.level] for e in some]
            after = round(sum(row["copies"] for row in own) / drawn, 6) if drawn else 0
            share = {"before": round(len(own) / len(rows), 6), "after": after}
            told = {"captions": captions, "examples": examples}
            clusters.append({"id": int(cluster), "events": len(own), **share, **told})
        shares = {side: np.array([c[side] for c in clusters]) for side in ("before", "after")}
        measures = {k: {"gini": gini(v), "entropy": normalised_entropy(v)} for k, v in shares.items()}
        result.append({"name": name, "clusters": clusters, "measures": measures})
    return result


def read_summary(folder: Path, warnings: list[str]) -> dict[str, Any]:
    """`summary.json`, or nothing."""
    try:
        content = json.loads((folder / "summary.json").read_text())
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError) as error:
        warnings.append(f"summary.json cannot be read: {error}")
        return {}
