# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The events of a carved view, as they are found after any of LeRobot's dataset tools.

LeRobot's tools rebuild `meta/`: deleting and splitting drop its columns, merging mixes the episode numbers of two sources, and
`wallwm.json` is lost in all three. What they all keep of an episode is its statistics, whatever they are of. So each episode
has statistics of `wallwm`, the number of the frame in the recording: `min`, `max` and the like, as LeRobot adds them up, and
beside them `event`, which it passes on: the event as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lerobot_wallwm.language.event_grammar import matches
from lerobot_wallwm.language.instruction import parse_instruction, slot_template

PREFIX, EVENT = "wallwm/", "stats/wallwm/event"


def carried(row: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What carries an event through LeRobot's tools: columns of its row in `meta/episodes`, from its columns `wallwm/...`."""
    told = {name.removeprefix(PREFIX): value for name, value in row.items() if name.startswith(PREFIX)}
    first, last = row[f"{PREFIX}start"], row[f"{PREFIX}end"] - 1
    numbers = {"min": first, "max": last, "mean": (first + last) / 2}
    numbers |= {
        "std": (((last - first + 1) ** 2 - 1) / 12) ** 0.5,
        "q01": first,
        "q10": first,
        "q50": (first + last) // 2,
    }
    numbers |= {"q90": last, "q99": last}
    found: dict[str, list[Any]] = {f"stats/wallwm/{name}": [float(value)] for name, value in numbers.items()}
    found["stats/wallwm/count"] = [row["length"]]
    return found | {EVENT: [json.dumps(told, ensure_ascii=False, separators=(",", ":"))]}


def view_rows(root: Path) -> list[dict[str, Any]]:
    """A row for each episode of a LeRobot dataset, in order, without statistics; of a view with its columns `wallwm/...`.

    Where a caption was changed afterwards (`lerobot-edit-dataset --operation.type modify_tasks`), so is `wallwm/template`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for file in sorted(root.glob("meta/episodes/*/*.parquet")):
        names = [n for n in pq.read_schema(file).names if n == EVENT or not n.startswith("stats/")]
        tables.append(pq.read_table(file, columns=names))
    if not tables:
        return []
    rows = pa.concat_tables(tables, promote_options="default").sort_by("episode_index").to_pylist()
    for row in rows:
        # A view that was written before it has the columns alone.
        if event := row.pop(EVENT, None):
            row |= {f"{PREFIX}{name}": value for name, value in json.loads(event[0]).items()}
            row[f"{PREFIX}template"] = _template(row)
    return rows


def is_view(root: Path) -> bool:
    """Whether any episode of a dataset is an event, by the columns of its `meta/episodes` alone."""
    import pyarrow.parquet as pq

    files = sorted(root.glob("meta/episodes/*/*.parquet"))[:1]
    return any({EVENT, f"{PREFIX}start"} & set(pq.read_schema(file).names) for file in files)


def has_events(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the rows are those of a view, all of whose episodes are events."""
    return all(row.get(f"{PREFIX}start") is not None for row in rows) and bool(rows)


def split_of(rows: Iterable[Mapping[str, Any]]) -> str | None:
    """Which side of the split the events are of; None where nothing says so, or both."""
    sides = {row.get(f"{PREFIX}split") for row in rows}
    return sides.pop() if len(sides) == 1 else None


def recording_of(row: Mapping[str, Any]) -> tuple[str, str, int]:
    """Which recording an event was cut from, at which level: two sources have episodes of the same number."""
    source, level = (str(row.get(f"{PREFIX}{name}") or "") for name in ("source", "level"))
    return source, level, int(row[f"{PREFIX}source_episode"])


def recordings(rows: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """The events of each recording in order, each once: without copies, and without what two views of it share."""
    groups: dict[tuple[str, str, int], list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row[f"{PREFIX}start"], row[f"{PREFIX}copy"])):
        own = groups.setdefault(recording_of(row), [])
        if not own or row[f"{PREFIX}start"] >= own[-1][f"{PREFIX}end"]:
            own.append(row)
    return [own for _, own in sorted(groups.items())]


def _template(row: Mapping[str, Any]) -> str:
    """The template of the caption that an event has now."""
    caption, template = row["tasks"][0], row[f"{PREFIX}template"]
    if caption == row[f"{PREFIX}caption"]:
        return template
    given = json.loads(row.get(f"{PREFIX}slots") or "{}")
    new = slot_template(caption, given or parse_instruction(row.get(f"{PREFIX}instruction") or ""))
    # Another name for the object leaves no slot: then the old sentence is looked for around it.
    return template if "{" not in new and matches(template, caption) else new
