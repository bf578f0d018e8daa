# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Carving speed (events/s) and the real-time factor of `wallwm prepare`.

Fails below 300 events/s or 20 times real time. `--large=100000` also carves that many events (each event of the
demonstrations that many times over) and compares the time of one event with that of LeRobot's own split, which cuts and
encodes videos anew. LeRobot splits between episodes only, so it is given our view, in which each event is one, and
divides `--split` of them into two datasets through the function behind `lerobot-edit-dataset`; the more events it
splits, the less its fixed costs count. Fails above 180 s, or if LeRobot takes less than 30 times as long.
"""

import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.harness.repo import DATASET
from benchmarks.harness.rows import Row, Spread, bar
from benchmarks.harness.timing import in_turns
from lerobot_wallwm.processors.caption.captioner import EventCaptioner, number_events
from lerobot_wallwm.processors.prepare.config import PrepareConfig
from lerobot_wallwm.processors.prepare.prepare import prepare
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.view.carver import EventCarver
from lerobot_wallwm.storage.places import DatasetConfig, OutputConfig

NEEDED_EVENTS_PER_S, NEEDED_REAL_TIME = 300, 20
LARGE_SECONDS, NEEDED_RATIO = 180, 30
QUICK = {"repeats": 1}


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--dataset", type=Path, default=DATASET)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--copies", type=int, default=20, help="copies of each event in the large view")
    parser.add_argument("--large", type=int, default=0, help="also carve so many events, beside LeRobot")
    parser.add_argument("--split", type=int, default=128, help="events that LeRobot splits then")


def rows(args: Namespace) -> Iterator[Row]:
    source = SourceDataset.open(args.dataset)
    segmenter, captioner = EventSegmenter(), EventCaptioner()
    events = number_events([captioner(episode, segmenter(episode)) for episode in source])
    actions = [event for event in events if event.level == "action"]
    copies = {event.event_id: args.copies for event in actions}
    # Beside the source, so that videos are linked as they would be for a user with one disk.
    with tempfile.TemporaryDirectory(dir=args.dataset.resolve().parent, prefix=".bench-") as folder:
        fresh = (Path(folder) / str(number) for number in count())

        def whole() -> None:
            place = OutputConfig(root=next(fresh))
            prepare(PrepareConfig(dataset=DatasetConfig(root=args.dataset), out=place, quiet=True))

        carve = partial(EventCarver(), source, events)
        calls = {
            "carve": lambda: carve(next(fresh)),
            f"carve, {args.copies} copies": lambda: carve(next(fresh), copies=copies),
            "prepare, everything": whole,
        }
        taken = in_turns(calls, args.repeats)
        seconds = {name: Spread.of([ms / 1e3 for ms in times]) for name, times in taken.items()}
        once, many, all_of_it = seconds.values()
        rate, factor = len(actions) / once.median, source.info["total_frames"] / source.fps / all_of_it.median
        copied = len(copies) * args.copies / many.median
        speed = (f"{rate:.0f} events/s", f"{copied:.0f} events/s", f"{factor:.0f} times real time")
        for (name, spread), fast in zip(seconds.items(), speed, strict=True):
            title = f"{len(source)} episodes, {len(actions)} action events"
            yield Row(title, {"what": name, "seconds": spread, "speed": fast})
        yield bar("carving, events/s", rate, NEEDED_EVENTS_PER_S)
        yield bar("preparing, times real time", factor, NEEDED_REAL_TIME)
        if args.large:
            yield from carve_many(source, events, args.large, args.split, Path(folder))


def carve_many(source: SourceDataset, events: list, large: int, split: int, folder: Path) -> Iterator[Row]:
    """Times so many events of our carver and `split` events of LeRobot's split."""
    from lerobot.datasets.dataset_tools import split_dataset
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    actions = [event for event in events if event.level == "action"]
    times, more = divmod(large, len(actions))
    copies = {event.event_id: times + (i < more) for i, event in enumerate(actions)}
    began = time.perf_counter()
    result = EventCarver()(source, events, folder / "large", copies=copies)
    ours = time.perf_counter() - began
    EventCarver()(source, events, folder / "view")
    view = LeRobotDataset("local/view", root=folder / "view")
    halves = {"first": list(range(split // 2)), "second": list(range(split // 2, split))}
    began = time.perf_counter()
    split_dataset(view, halves, output_dir=folder / "split")
    theirs = time.perf_counter() - began
    for name, number, seconds in (("carve", result.episodes, ours), ("LeRobot's split", split, theirs)):
        cells = {"what": name, "events": number, "seconds": seconds}
        yield Row("large", {**cells, "ms an event": 1e3 * seconds / number})
    yield bar("large, seconds", ours, most=LARGE_SECONDS)
    ratio = (theirs / split) / (ours / result.episodes)
    yield bar("LeRobot's time of an event, of ours", ratio, NEEDED_RATIO)
