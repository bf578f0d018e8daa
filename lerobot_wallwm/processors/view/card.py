# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The view's README.md: a dataset card with the front matter of a LeRobot dataset and the events in figures.

`hf upload <repo_id> <view> --repo-type dataset` and `huggingface_hub.upload_folder` publish it as it is;
`LeRobotDataset.push_to_hub` uploads it and then puts LeRobot's own card in its place.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.language.markdown import CARD, differing, plain, source_card_data
from lerobot_wallwm.language.view_facts import read_view
from lerobot_wallwm.processors.source.events import LEVELS, Event

# Our choice: a reader wants to see what the captions are like, not all of them; tasks.parquet has all.
_CAPTIONS = 30


def write_card(root: Path, source_root: Path, events: Sequence[Event]) -> None:
    """Writes `README.md` of the view in `root`. Licence, tags and languages come from the card of the source.

    `events` is the whole event table.
    """
    from huggingface_hub import DatasetCard, DatasetCardData

    view, theirs = read_view(root), source_card_data(source_root)
    # A set would not keep the order, and the same input must give the same bytes.
    tags = list(dict.fromkeys(["LeRobot", "wallwm", "events", *theirs.pop("tags", ())]))
    files = [{"config_name": "default", "data_files": "data/*/*.parquet"}]
    data = DatasetCardData(**theirs, tags=tags, task_categories=["robotics"], configs=files)
    name, of = plain(view.source), view.about["source"]["total_episodes"]
    licence = str(theirs.get("license") or "not stated by the source; ask its author before you use it")
    levels = []
    for level in LEVELS:
        lengths = [e.length for e in events if e.level == level and e.episode_index in view.demonstrations]
        levels.append([level, len(lengths), f"{np.median(lengths) / view.fps:.2f}" if lengths else ""])
    card = DatasetCard.from_template(
        data,
        template_path=str(Path(__file__).with_name("card.md.jinja")),
        name=name,
        view=view,
        facts=[
            ["source", f"{name}, {len(view.demonstrations)} of its {of} episodes"],
            ["events", f"{view.events}, written as {view.copies} episodes"],
            ["frames", f"{view.frames} at {view.fps:g} Hz"],
            ["robot", plain(view.robot or "not stated")],
            ["cameras", ", ".join(f"`{camera}`" for camera in view.cameras)],
            ["license", licence],
        ],
        levels=levels,
        shown=_CAPTIONS,
        plain=plain,
        command=str(view.about.get("command", "")).replace("`", "'"),
    )
    (root / CARD).write_text(card.content + "\n", encoding="utf-8")


def command_line(config: Any, default: Any) -> str:
    """The `wallwm prepare` command that repeats a run: the flags that differ from their defaults.

    Folders lose their path, which is the machine's own business; quotes keep the line one shell command.
    """

    def text(value: Any) -> str:
        value = value.name if isinstance(value, Path) else value
        return value if isinstance(value, str) else json.dumps(value, default=lambda path: path.name)

    flags = differing(dataclasses.asdict(config), dataclasses.asdict(default))
    return shlex.join(["wallwm", "prepare", *(f"--{name}={text(value)}" for name, value in flags)])
