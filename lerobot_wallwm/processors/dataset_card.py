# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The view's README.md: a dataset card with the front matter of a LeRobot dataset and the events in figures.

`hf upload <repo_id> <view> --repo-type dataset` and `huggingface_hub.upload_folder` publish it as it is;
`LeRobotDataset.push_to_hub` uploads it and then puts LeRobot's own card in its place.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.processors.events import LEVELS, Event

CARD = "README.md"
# Our choice: a reader wants to see what the captions are like, not all of them; tasks.parquet has all.
_CAPTIONS, _LETTERS = 30, 160
# What a Hub tag or licence looks like; anything else in a source's card is left out.
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,95}")


def source_card_data(root: Path) -> dict[str, Any]:
    """Licence, its name and link, tags and languages from the front matter of the source's own card.

    A card that is missing or cannot be parsed gives an empty dictionary: its dataset can still be used.
    """
    import yaml

    try:
        parts = re.split(r"^---\s*$", (root / CARD).read_text(encoding="utf-8"), maxsplit=2, flags=re.M)
        data = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0].strip() else {}
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    if not isinstance(data, dict):
        return {}
    found: dict[str, Any] = {}
    for name in ("license", "tags", "language"):
        value = data.get(name)
        words = [
            w
            for w in (value if isinstance(value, list) else [value])
            if isinstance(w, str) and _WORD.fullmatch(w)
        ]
        if words:
            found[name] = words[0] if name == "license" and len(words) == 1 else words
    for name in ("license_name", "license_link"):
        if isinstance(data.get(name), str):
            found[name] = data[name][:500]
    return found


def plain(text: str, letters: int = _LETTERS) -> str:
    """Text from a dataset as one line of Markdown that shows it and does nothing else."""
    line = " ".join(text.split())
    line = line if len(line) <= letters else line[: letters - 3] + "..."
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~$&-])", r"\\\1", line)


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


def table(header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> list[str]:
    """Lines of a Markdown table; cells are text that is already Markdown."""
    header = list(header)
    lines = ["| " + " | ".join(map(str, header)) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]


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
