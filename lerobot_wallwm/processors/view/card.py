# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The view's README.md: a dataset card with the front matter of a LeRobot dataset and the events in figures.

`hf upload <repo_id> <view> --repo-type dataset` and `huggingface_hub.upload_folder` publish it as it is;
`LeRobotDataset.push_to_hub` uploads it and then puts LeRobot's own card in its place.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.language.markdown import _CAPTIONS, CARD, plain, source_card_data, table
from lerobot_wallwm.processors.source.events import LEVELS, Event


def write_card(
    root: Path,
    source_root: Path,
    events: Sequence[Event],
    meta: Sequence[Mapping[str, Any]],
    info: Mapping[str, Any],
    sidecar: Mapping[str, Any],
) -> None:
    """Writes `README.md` of a view.

    Args:
        root: The view's folder.
        source_root: The dataset that was carved; licence, tags and languages come from its card.
        events: The whole event table, all levels.
        meta: A row an event copy, as in the view's `meta/episodes`.
        info: The view's `info.json`.
        sidecar: The view's `wallwm.json`.
    """
    from huggingface_hub import DatasetCardData

    theirs = source_card_data(source_root)
    # A set would not keep the order, and the same input must give the same bytes.
    tags = list(dict.fromkeys(["LeRobot", "wallwm", "events", *theirs.pop("tags", ())]))
    data = DatasetCardData(
        **theirs,
        tags=tags,
        task_categories=["robotics"],
        configs=[{"config_name": "default", "data_files": "data/*/*.parquet"}],
    )
    text = f"---\n{data.to_yaml()}\n---\n\n" + _body(theirs, events, meta, info, sidecar)
    (root / CARD).write_text(text, encoding="utf-8")


def _body(
    theirs: Mapping[str, Any],
    events: Sequence[Event],
    meta: Sequence[Mapping[str, Any]],
    info: Mapping[str, Any],
    sidecar: Mapping[str, Any],
) -> str:
    fps, level = float(info["fps"]), sidecar["level"]
    name = plain(sidecar["source"]["name"])
    split = f", {sidecar['split']} split" if "split" in sidecar else ""
    once = [row for row in meta if row["wallwm/copy"] == 0]
    episodes = {row["wallwm/source_episode"] for row in once}
    cameras = [key for key, value in info["features"].items() if value["dtype"] in ("video", "image")]
    licence = theirs.get("license")
    lines = [
        f"# Events of {name}{split}",
        "",
        f"A [LeRobot](https://github.com/huggingface/lerobot) dataset in which each episode is one event ({level}) of a "
        "demonstration, with the event's caption as its task. Rows and frames are those of the source.",
        "",
        *table(
            ["", ""],
            [
                ["source", f"{name}, {len(episodes)} of its {sidecar['source']['total_episodes']} episodes"],
                ["events", f"{len(once)}, written as {len(meta)} episodes"],
                ["frames", f"{info['total_frames']} at {fps:g} Hz"],
                ["robot", plain(str(info.get("robot_type") or "not stated"))],
                ["cameras", ", ".join(f"`{camera}`" for camera in cameras)],
                [
                    "license",
                    str(licence) if licence else "not stated by the source; ask its author before you use it",
                ],
            ],
        ),
        "",
        "## Levels",
        "",
        "Four nested levels tile every demonstration; the counts are those of the source episodes above.",
        "",
        *table(
            ["level", "events", "median s"],
            [
                [level_name, len(own), f"{np.median([e.length for e in own]) / fps:.2f}" if own else ""]
                for level_name in LEVELS
                for own in [[e for e in events if e.level == level_name and e.episode_index in episodes]]
            ],
        ),
        "",
        "## Labels",
        "",
        *table(
            ["label", "events", "copies", "median s", "shortest s", "longest s"],
            _label_rows(once, Counter(row["wallwm/label"] for row in meta), fps),
        ),
        "",
        "## Captions",
        "",
    ]
    captions = Counter(row["tasks"][0] for row in once).most_common()
    captions.sort(key=lambda item: (-item[1], item[0]))
    shown = captions[:_CAPTIONS]
    lines.append(
        f"{len(captions)} captions"
        + (f", the {len(shown)} commonest:" if len(shown) < len(captions) else ":")
    )
    lines += ["", *table(["caption", "events"], [[plain(text), count] for text, count in shown]), ""]
    lines += ["## How it was made", ""]
    lines += [f"With `lerobot_policy_wallwm` {sidecar['version']}:", ""]
    if "command" in sidecar:
        lines += ["```", str(sidecar["command"]).replace("`", "'"), "```", ""]
    lines.append(
        "`meta/wallwm.json` holds every parameter, `meta/episodes` the source interval of each event."
    )
    return "\n".join(lines) + "\n"


def _label_rows(once: Sequence[Mapping[str, Any]], copies: Mapping[str, int], fps: float) -> list[list[Any]]:
    rows = []
    counts = Counter(row["wallwm/label"] for row in once)
    for label, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        seconds = [
            (row["wallwm/end"] - row["wallwm/start"]) / fps for row in once if row["wallwm/label"] == label
        ]
        numbers = [f"{value:.2f}" for value in (np.median(seconds), min(seconds), max(seconds))]
        rows.append([plain(label), count, copies[label], *numbers])
    return rows


def command_line(config: Any, default: Any) -> str:
    """The `wallwm prepare` command that repeats a run: the flags that differ from their defaults.

    Folders lose their path, which is the machine's own business; quotes keep the line one shell command.
    """
    import dataclasses
    import shlex

    flags: list[str] = []

    def walk(prefix: str, ours: Any, theirs: Any) -> None:
        for field in dataclasses.fields(ours):
            mine, other = getattr(ours, field.name), getattr(theirs, field.name)
            name = f"{prefix}{field.name}"
            if dataclasses.is_dataclass(mine) and dataclasses.is_dataclass(other):
                walk(f"{name}.", mine, other)
            elif mine != other:
                if isinstance(mine, Path):
                    value = mine.name
                elif isinstance(mine, bool | list | tuple | dict) or mine is None:
                    value = json.dumps(mine, default=str)
                else:
                    value = str(mine)
                flags.append(shlex.quote(f"--{name}={value}"))

    walk("", config, default)
    return " ".join(["wallwm prepare", *flags])
