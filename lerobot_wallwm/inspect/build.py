# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm inspect`: gathers a prepared folder and its source into one page.

The page is one file without external resources; its data are inert JSON that no markup can break out of. Its pictures are
sprite sheets: a few small frames of one camera of one episode in one WebP image. Frames are chosen by how much they tell:
both ends, the events' boundaries, then the largest gaps. Their number and size follow from the bytes that the page may
spend on them, so a page of 5 episodes is dense and one of 500 stays small.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from lerobot_wallwm.inspect.sidecars import episode_facts, read_clusters, read_summary
from lerobot_wallwm.processors.source.episodes import Episode, SourceDataset, dataset_fingerprint
from lerobot_wallwm.processors.source.events import LEVELS, Event, by_episode, read_events, validate_events
from lerobot_wallwm.processors.source.pictures import pictures
from lerobot_wallwm.storage.atomic import replacing
from lerobot_wallwm.storage.errors import DataError
from lerobot_wallwm.storage.fingerprint import fingerprint
from lerobot_wallwm.storage.places import DatasetConfig, OutputConfig, output_root, source_root

# Our choice: enough for a curve across a wide screen; 8 bits are finer than its pixels are high.
_CURVE_BUCKETS = 150

SCRIPTS = (
    "corrections.js",
    "store.js",
    "frames.js",
    "timeline.js",
    "list.js",
    "clusters.js",
    "app.js",
    "replace.js",
)
ASSETS = Path(__file__).parent / "assets"


@dataclass
class InspectConfig:
    """`wallwm inspect`."""

    # The dataset that was prepared.
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    # What `wallwm prepare` wrote.
    out: OutputConfig = field(default_factory=OutputConfig)
    # The page to write; without it <out>/inspect.html.
    page: Path | None = None
    # About how large the page may get, MB; frames get smaller and fewer to stay below.
    max_mb: float = 40.0
    # Threads that decode videos.
    workers: int = 2
    # No progress bar.
    quiet: bool = False


def inspect(config: InspectConfig) -> dict[str, Any]:
    """Writes the page. Returns its path, size in bytes, and numbers of episodes and events.

    A video or episode that cannot be read is a line on the page; the rest is shown.

    Raises:
        DataError: The dataset or its event table cannot be read, or they do not belong together.
        ValueError: A parameter is out of range.
    """
    if not config.max_mb > 0 or config.workers < 1:
        raise ValueError("--max_mb must be above 0 and --workers at least 1. Fix: leave them out")
    folder, source = output_root(config.out), SourceDataset.open(source_root(config.dataset))
    page = Path(config.page or folder / "inspect.html")
    events = read_events(folder / "events.parquet")
    validate_events(events, path=folder / "events.parquet")
    groups = by_episode(events)
    foreign = sorted(set(groups) - set(source.episode_indices))
    if foreign:
        key, problem = f"episode_index {foreign[0]}", f"is not in {source.root.name}"
        raise DataError(folder / "events.parquet", key, problem, "pass the --dataset.root that was prepared")
    warnings: list[str] = []
    facts, summary = episode_facts(folder, warnings), read_summary(folder, warnings)
    warnings += [str(line) for line in summary.get("warnings", [])]
    for position, episode in enumerate(source.episode_indices):
        if episode in facts and episode not in groups:
            groups[episode] = _left_out(source.meta(position), source.tasks)
    positions = [p for p, e in enumerate(source.episode_indices) if e in groups]
    rows = [_row(e, groups[e], facts.get(e, {})) for e in source.episode_indices if e in groups]
    index = {
        "format": "wallwm-inspect",
        "dataset": {"name": source.root.name, "fingerprint": dataset_fingerprint(source)},
        # Corrections that a browser keeps belong to these events alone.
        "events": fingerprint([(e.episode_index, e.level, e.start, e.end) for e in events]),
        "fps": source.fps,
        "levels": LEVELS,
        "cameras": source.camera_keys,
        "level": str(summary.get("level", "action")),
        "counts": {level: sum(e.level == level for e in events) for level in LEVELS},
        "warnings": warnings,
        "clusters": read_clusters(folder, events, warnings),
        "balance": {k: v for k, v in summary.items() if "balance" in k or "cluster" in k},
        "episodes": rows,
    }
    spent = sum(len(str(row)) for row in rows) + 4000 * len(positions)
    budget = max(config.max_mb * 1e6 - spent, 0.2 * config.max_mb * 1e6) * 0.75 * 0.97
    plan = plan_sheets(len(positions) * len(source.camera_keys), budget)

    def episodes() -> Iterator[dict[str, Any]]:
        from tqdm import tqdm

        def build(position: int) -> dict[str, Any]:
            # An own reader a thread: SourceDataset keeps the last table it read.
            own = replace(source, _tables={})
            index = source.episode_indices[position]
            return _episode(own, position, groups[index], facts.get(index, {}), plan)

        with ThreadPoolExecutor(config.workers) as pool:
            shown = {"desc": "inspect", "unit": " episodes", "disable": config.quiet, "file": sys.stderr}
            yield from tqdm(pool.map(build, positions), total=len(positions), **shown)

    with replacing(page) as partial:
        size = write_page(partial, f"{source.root.name}: events", index, episodes())
    return {"page": str(page), "bytes": size, "episodes": len(positions), "events": len(events)}


def _left_out(meta: dict[str, Any], tasks: list[str]) -> list[Event]:
    """One event a level for an episode that cleaning or synchronisation left out, so that it can be looked at."""
    task, episode, length = (meta.get("tasks") or tasks or [""])[0], meta["episode_index"], meta["length"]
    captions = [str(task)] + ["left out"] * (len(LEVELS) - 1)
    rest = ("{object}", -1, 1.0, "episode")
    return [
        Event(-1, int(episode), level, 0, int(length), "left out", caption, *rest)
        for level, caption in zip(LEVELS, captions, strict=True)
    ]


def _row(episode: int, events: list[Event], facts: dict[str, Any]) -> dict[str, Any]:
    """What the list of episodes shows, sorts and searches."""
    actions = sorted((e for e in events if e.level == "action"), key=lambda e: e.start)
    return {
        "i": episode,
        "task": " / ".join(e.caption for e in events if e.level == "task"),
        "length": max(e.end for e in events),
        "strip": [[e.start, e.label] for e in actions],
        "captions": sorted({e.caption for e in events}),
        "least": round(min((e.confidence for e in events if e.start), default=1.0), 3),
        "human": any(e.source == "human" for e in events),
        "bad": sorted(name for name, entry in facts.items() if entry["bad"]),
    }


def _episode(
    source: SourceDataset, position: int, events: list[Event], facts: dict[str, Any], plan: Any
) -> dict[str, Any]:
    """What the page needs when an episode is opened."""
    meta = source.meta(position)
    length = max(event.end for event in events)
    sync = (facts.get("sync") or {"rows": [{}]})["rows"][0]
    first = int(sync.get("first_frame") or 0)  # events of a synchronised episode are counted from here
    bounds = sorted((e for e in events if e.start), key=lambda e: (LEVELS.index(e.level), -e.confidence))
    frames = choose_frames(length, [e.start for e in bounds], plan.frames)
    sheets: dict[str, Any] = {}
    for key in source.camera_keys:
        try:
            shown = pictures(source, meta, key, [first + f for f in frames], width=plan.width)
            sheets[key] = make_sheet([Image.fromarray(picture) for picture in shown], frames, plan)
        except (OSError, ValueError) as error:
            sheets[key] = {"problem": str(error)[:300]}
    try:
        curves = _curves(source.read(position, 1), first, length, sync)
    except DataError as error:
        curves = {"problem": str(error)}
    levels: dict[str, list[Any]] = {level: [] for level in LEVELS}
    for e in sorted(events, key=lambda e: e.start):
        levels[e.level].append([e.start, e.end, e.label, e.caption, round(float(e.confidence), 4), e.source])
    parts = {"events": levels, "sheets": sheets, "curves": curves, "facts": facts}
    return {"i": int(meta["episode_index"]), "length": length, **parts}


def _curves(episode: Episode, first: int, length: int, sync: dict[str, Any]) -> dict[str, Any]:
    """State and action of an episode: per bucket of frames the first-to-last range, in 8 bits between `low` and `high`."""
    grip_action, grip_state = episode.what.grippers, episode.what.state_grippers
    rows = []
    for name, values, names, grip, lag in (
        ("state", episode.state, episode.state_names, grip_state, int(sync.get("lag") or 0)),
        ("action", episode.action, episode.action_names, grip_action, int(sync.get("action_lag") or 0)),
    ):
        frames = np.clip(np.arange(first, first + length) - lag, 0, len(values) - 1)
        for d in range(values.shape[1]):
            sampled = envelope(values[frames, d])
            low, high = float(sampled.min()), float(sampled.max())
            flat = np.full(len(sampled), 128)
            unit = np.round((sampled - low) / (high - low) * 255) if high > low else flat
            data = base64.b64encode(unit.astype(np.uint8).tobytes()).decode()
            ends = {"low": float(f"{low:.5g}"), "high": float(f"{high:.5g}")}
            shown = names[d] if d < len(names) else f"{name}[{d}]"
            rows.append({"kind": name, "name": shown, "grip": d in grip, **ends, "data": data})
    return {"rows": rows}


def envelope(values: np.ndarray) -> np.ndarray:
    """(T,) as it is if short, else `2 * _CURVE_BUCKETS` values: smallest and largest of each bucket in order of time."""
    if len(values) <= 2 * _CURVE_BUCKETS:
        return values
    result = []
    for part in np.array_split(values, _CURVE_BUCKETS):
        low, high = int(part.argmin()), int(part.argmax())
        result += [part[min(low, high)], part[max(low, high)]]
    return np.array(result)


def safe_json(value: Any) -> Markup:
    """JSON for a script element: no `<`, `>`, `&` or line separator survives unescaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return Markup(text)


def write_page(path: Path, title: str, index: dict[str, Any], episodes: Iterable[dict[str, Any]]) -> int:
    """Writes the page, an episode at a time. Returns its size in bytes.

    The Content-Security-Policy allows this page's one script and one style by their hashes and nothing from outside.
    """
    style, *parts = (Markup((ASSETS / name).read_text(encoding="utf-8")) for name in ("page.css", *SCRIPTS))
    script = Markup("'use strict';(function(){\n%s\n})();") % Markup("\n").join(parts)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    policy = (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS), autoescape=True, trim_blocks=True, keep_trailing_newline=True
    )
    content = pages.get_template("page.html.jinja").stream(
        title=title,
        policy=Markup(policy),
        style=style,
        script=script,
        index=safe_json(index),
        episodes=((episode["i"], safe_json(episode)) for episode in episodes),
    )
    content.dump(str(path), encoding="utf-8")
    return path.stat().st_size


# Our choices. WebP at quality 60 takes about 0.09 bytes a pixel on camera images.
WIDTHS = (240, 192, 160, 128, 96, 64)
BYTES_PER_PIXEL = 0.09
QUALITIES = (60, 40, 25)
LEAST_FRAMES, MOST_FRAMES, WANTED_FRAMES = 6, 96, 24


@dataclass(frozen=True)
class SheetPlan:
    """What one sheet may cost: tile width in pixels, number of tiles, bytes before base64."""

    width: int
    frames: int
    budget: int


def plan_sheets(sheets: int, budget: float, aspect: float = 0.75) -> SheetPlan:
    """The widest tile at which `WANTED_FRAMES` fit into each of `sheets` equal parts of `budget` bytes."""
    share = budget / max(sheets, 1)
    costs = [w * w * aspect * BYTES_PER_PIXEL for w in WIDTHS]
    width, cost = next(
        ((w, c) for w, c in zip(WIDTHS, costs, strict=True) if c * WANTED_FRAMES <= share),
        (WIDTHS[-1], costs[-1]),
    )
    return SheetPlan(width, int(np.clip(share / cost, LEAST_FRAMES, MOST_FRAMES)), int(share))


def choose_frames(length: int, bounds: Sequence[int], count: int) -> list[int]:
    """At most `count` frames (at least 2) of `[0, length)`, ascending.

    ``bounds`` are boundaries, the most telling first; they take at most half of the frames.
    """
    chosen = {0, length - 1}
    for bound in bounds:
        if len(chosen) >= max(2, count // 2):
            break
        chosen.add(min(max(bound, 0), length - 1))
    while len(chosen) < min(count, length):
        ordered = sorted(chosen)
        gaps = np.diff(ordered)
        widest = int(np.argmax(gaps))
        if gaps[widest] < 2:
            break
        chosen.add(ordered[widest] + int(gaps[widest]) // 2)
    return sorted(chosen)


def make_sheet(images: Sequence[Image.Image], frames: Sequence[int], plan: SheetPlan) -> dict[str, Any]:
    """The sheet as the page reads it; lower quality, then fewer tiles, until it fits the plan's budget."""
    images, frames = list(images), list(frames)
    while True:
        w, h = images[0].size
        columns = int(np.ceil(np.sqrt(len(images))))
        sheet = Image.new("RGB", (columns * w, -(-len(images) // columns) * h))
        for i, image in enumerate(images):
            sheet.paste(image, (i % columns * w, i // columns * h))
        for quality in QUALITIES:
            buffer = io.BytesIO()
            sheet.save(buffer, "WEBP", quality=quality, method=3)
            if buffer.tell() <= plan.budget:
                break
        if buffer.tell() <= plan.budget or len(images) <= LEAST_FRAMES:
            data = base64.b64encode(buffer.getvalue()).decode()
            return {"frames": frames, "columns": columns, "w": w, "h": h, "data": data}
        keep = sorted({*range(0, len(images), 2), len(images) - 1})
        images, frames = [images[i] for i in keep], [frames[i] for i in keep]
