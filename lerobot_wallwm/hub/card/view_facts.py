# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a carved dataset is, counted from its own metadata."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lerobot_wallwm.hub.files.safe_files import read_object
from lerobot_wallwm.language.markdown import source_card_data

_COLUMNS = ("wallwm/label", "wallwm/copy", "wallwm/source_episode", "wallwm/start", "wallwm/end", "tasks")


class LabelFacts(NamedTuple):
    """Events of one kind: how many, how many copies, and their lengths in seconds."""

    label: str
    events: int
    copies: int
    median: float
    shortest: float
    longest: float


@dataclass(frozen=True)
class ViewFacts:
    """A carved view in numbers."""

    source: str  # name of the dataset that was carved
    split: str | None  # of the view, or None
    level: str  # whose events are its episodes
    robot: str | None  # `robot_type` of the dataset, or None
    fps: float
    frames: int  # rows of the view
    source_episodes: int  # demonstrations with at least one event
    events: int  # copies not counted
    copies: int  # episodes of the view, copies included
    captions: int
    cameras: dict[str, tuple[int, ...]]  # shape by key
    labels: list[LabelFacts]  # one entry a kind of event, the commonest first
    license: str | None  # from the dataset's card, or None


def read_view(root: Path) -> ViewFacts:
    """Counts a view that `wallwm prepare` wrote.

    Raises:
        ValueError: It is none.
    """
    import pyarrow.parquet as pq

    fix = "give --dataset.root the folder that `wallwm prepare` wrote, such as DIR/train"
    sidecar, info = read_object(root / "meta" / "wallwm.json"), read_object(root / "meta" / "info.json")
    if sidecar.get("format") != "wallwm-view":
        raise ValueError(f"{root}: meta/wallwm.json has the format {sidecar.get('format')!r}. Fix: {fix}")
    files = sorted((root / "meta" / "episodes").glob("*/*.parquet"))
    try:
        rows = [row for file in files for row in pq.read_table(file, columns=list(_COLUMNS)).to_pylist()]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{root}: meta/episodes cannot be read ({error}). Fix: {fix}") from error
    once = [row for row in rows if row["wallwm/copy"] == 0]
    if not once:
        raise ValueError(f"{root}: holds no event. Fix: {fix}")
    fps = float(info["fps"])
    licence, source = source_card_data(root).get("license"), sidecar.get("source")
    return ViewFacts(
        source=str(source.get("name") or "unnamed") if isinstance(source, Mapping) else "unnamed",
        split=_text(sidecar.get("split")),
        level=str(sidecar.get("level")),
        robot=_text(info.get("robot_type")),
        fps=fps,
        frames=int(info["total_frames"]),
        source_episodes=len({row["wallwm/source_episode"] for row in once}),
        events=len(once),
        copies=len(rows),
        captions=len({row["tasks"][0] for row in once}),
        cameras={
            key: tuple(value["shape"])
            for key, value in info["features"].items()
            if value.get("dtype") in ("video", "image")
        },
        labels=_labels(once, Counter(row["wallwm/label"] for row in rows), fps),
        license=", ".join(licence) if isinstance(licence, list) else licence,
    )


def _labels(once: list[dict[str, Any]], copies: Mapping[str, int], fps: float) -> list[LabelFacts]:
    seconds: dict[str, list[float]] = {}
    for row in once:
        seconds.setdefault(row["wallwm/label"], []).append((row["wallwm/end"] - row["wallwm/start"]) / fps)
    return [
        LabelFacts(label, len(s), copies[label], statistics.median(s), min(s), max(s))
        for label, s in sorted(seconds.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
