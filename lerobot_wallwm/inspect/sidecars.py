# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Reads what other steps left in the prepared folder: sync, cleaning and cluster tables, and the summary.

All of it is optional. What the page looks for:
* `sync.parquet`, `cleaning.parquet`: `episode_index` and any other columns; a verdict is read from `quarantined`,
  `excluded` (true or false) or `verdict`, `status`, `decision` (text), a reason from `reason`.
* `clusters.parquet`: `event_id` and any integer columns with `cluster` in their name (such as `vl_cluster` and
  `action_cluster`); `weight` and `copies` where given; rows of another `split` than
  `train` are left out.
* `summary.json`: everything under keys that name balance or clusters is shown as it stands.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lerobot_wallwm.processors.source.events import Event

_BAD = ("quarantin", "exclu", "drop", "reject", "fail", "bad")
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


def read_table(path: Path, key: str, warnings: list[str]) -> list[dict[str, Any]]:
    """Rows of an optional table; one that cannot be used is a warning on the page, never an error."""
    if not path.is_file():
        return []
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        warnings.append(f"{path.name} cannot be read: {error}")
        return []
    if key not in table.column_names:
        warnings.append(f"{path.name} has no column {key}, so it is not shown")
        return []
    return table.to_pylist()


def is_bad(row: dict[str, Any]) -> bool:
    """Whether a verdict keeps its episode out."""
    if any(row.get(name) is True for name in ("quarantined", "excluded")):
        return True
    text = " ".join(str(row.get(name, "")).lower() for name in ("verdict", "status", "decision"))
    return any(word in text for word in _BAD)


def episode_facts(folder: Path, warnings: list[str]) -> dict[int, dict[str, Any]]:
    """Per episode: `{"sync": {"bad": bool, "rows": [...]}, "cleaning": {...}}`, for the tables that exist."""
    facts: dict[int, dict[str, Any]] = defaultdict(dict)
    for name in ("sync", "cleaning"):
        for row in read_table(folder / f"{name}.parquet", "episode_index", warnings):
            entry = facts[int(row["episode_index"])].setdefault(name, {"bad": False, "rows": []})
            entry["bad"] = entry["bad"] or is_bad(row)
            if len(entry["rows"]) < 40:
                entry["rows"].append({k: plain(v) for k, v in row.items() if k != "episode_index"})
    return facts


def read_clusters(folder: Path, events: Sequence[Event], warnings: list[str]) -> list[dict[str, Any]]:
    """Each clustering with its clusters, the largest first: size, share before and after balancing, examples."""
    rows = read_table(folder / "clusters.parquet", "event_id", warnings)
    by_id = {event.event_id: event for event in events}
    result = []
    # Balancing is about what training draws, so where the table names splits, only the training split counts.
    if any(row.get("split") == "train" for row in rows):
        rows = [row for row in rows if row["split"] == "train"]
    names = [n for n in (rows[0] if rows else {}) if "cluster" in n and isinstance(rows[0][n], int)]
    for name in names:
        members: dict[int, list[Event]] = defaultdict(list)
        before: Counter[int] = Counter()
        after: dict[int, float] = defaultdict(float)
        for row in rows:
            event, cluster = by_id.get(row["event_id"]), row[name]
            if event is None or cluster is None or cluster < 0:
                continue
            members[cluster].append(event)
            before[cluster] += 1
            drawn = next((row[k] for k in ("copies", "weight") if row.get(k) is not None), None)
            after[cluster] += 1.0 if drawn is None else float(drawn)
        total, drawn_total = sum(before.values()), sum(after.values())
        clusters: list[dict[str, Any]] = []
        for cluster, count in before.most_common(_MOST_CLUSTERS):
            own = members[cluster]
            step = max(1, len(own) // _EXAMPLES)
            examples = [[e.episode_index, e.start, e.end, e.level] for e in own[::step][:_EXAMPLES]]
            captions = Counter(e.caption for e in own).most_common(3)
            clusters.append(
                {
                    "id": int(cluster),
                    "events": count,
                    "before": round(count / total, 6),
                    "after": round(after[cluster] / drawn_total, 6) if drawn_total else 0,
                    "captions": [caption for caption, _ in captions],
                    "examples": examples,
                }
            )
        shown = {"before": [c["before"] for c in clusters], "after": [c["after"] for c in clusters]}
        measures = {side: concentration(shares) for side, shares in shown.items()}
        result.append({"name": name, "clusters": clusters, "measures": measures})
    return result


def concentration(shares: Sequence[float]) -> dict[str, float]:
    """Gini coefficient and normalised entropy of shares (0 and 1 where all are equal)."""
    ordered, n, total = sorted(shares), len(shares), sum(shares)
    if n < 2 or total <= 0:
        return {"gini": 0.0, "entropy": 1.0}
    gini = sum((2 * i - n + 1) * s for i, s in enumerate(ordered)) / (n * total)
    entropy = -sum(s / total * math.log(s / total) for s in ordered if s > 0) / math.log(n)
    return {"gini": round(gini, 4), "entropy": round(entropy, 4)}


def read_summary(folder: Path, warnings: list[str]) -> dict[str, Any]:
    """`summary.json`, or nothing."""
    try:
        content = json.loads((folder / "summary.json").read_text())
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError) as error:
        warnings.append(f"summary.json cannot be read: {error}")
        return {}
