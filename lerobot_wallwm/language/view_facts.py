# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a carved dataset is, counted from its own metadata: for its own card, and for a checkpoint's that it trained."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lerobot_wallwm.language.markdown import source_card_data
from lerobot_wallwm.language.view_events import has_events, recordings, split_of, view_rows
from lerobot_wallwm.storage.errors import DataError


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

    about: Mapping[str, Any]  # its `wallwm.json`
    source: str  # name of the dataset that was carved
    split: str | None  # of the view, or None
    robot: str | None  # `robot_type` of the dataset, or None
    fps: float
    frames: int  # rows of the view
    demonstrations: frozenset[int]  # source episodes with at least one event
    events: int  # copies not counted
    copies: int  # episodes of the view, copies included
    captions: dict[str, int]  # events by caption, the commonest first
    cameras: list[str]
    labels: list[LabelFacts]  # one entry a kind of event, the commonest first
    license: str | None  # from the dataset's card, or None


def read_view(root: Path) -> ViewFacts:
    """Counts a view that `wallwm prepare` wrote, also where LeRobot's dataset tools have lost its `wallwm.json`.

    Raises:
        DataError: It is none.
    """
    fix = "give --dataset.root the folder that `wallwm prepare` wrote, such as DIR/train"
    meta = root / "meta"
    try:
        info, rows = json.loads((meta / "info.json").read_text()), view_rows(root)
        about = json.loads((meta / "wallwm.json").read_text()) if (meta / "wallwm.json").is_file() else {}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(root, "meta", f"cannot be read ({error})", fix) from error
    if not has_events(rows):
        raise DataError(
            root, "meta/episodes", "holds no event: this is no view that `wallwm prepare` wrote", fix
        )
    once = [row for own in recordings(rows) for row in own]
    fps, copies = float(info["fps"]), Counter(row["wallwm/label"] for row in rows)
    seconds: dict[str, list[float]] = {label: [] for label in copies}
    for row in once:
        seconds[row["wallwm/label"]].append((row["wallwm/end"] - row["wallwm/start"]) / fps)
    labels = [
        LabelFacts(n, len(s), copies[n], statistics.median(s), min(s), max(s)) for n, s in seconds.items()
    ]
    captions = Counter(row["tasks"][0] for row in once)
    licence, names = source_card_data(root).get("license"), {row.get("wallwm/dataset") for row in rows}
    about = {"source": {}} | about
    source = ", ".join(sorted(map(str, names - {None}))) or about["source"].get("name")
    return ViewFacts(
        about=about,
        source=str(source or "unnamed"),
        split=split_of(rows) or about.get("split") or None,
        robot=info.get("robot_type") or None,
        fps=fps,
        frames=int(info["total_frames"]),
        demonstrations=frozenset(row["wallwm/source_episode"] for row in once),
        events=len(once),
        copies=len(rows),
        captions=dict(sorted(captions.items(), key=lambda item: (-item[1], item[0]))),
        cameras=[key for key, value in info["features"].items() if value.get("dtype") in ("video", "image")],
        labels=sorted(labels, key=lambda label: (-label.events, label.label)),
        license=", ".join(licence) if isinstance(licence, list) else licence,
    )
