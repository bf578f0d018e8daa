# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Carving speed (events/s) and the real-time factor of `wallwm prepare`. Exits with 1 below 300 events/s or 20 times.

With `--large 100000` it instead carves that many events (each event of the demonstrations that many times over) and compares
the time of one event with that of LeRobot's own split, which cuts and encodes videos anew. LeRobot splits between
episodes only, so it is given our view, in which each event is one, and divides `--split` of them into two datasets,
through the function behind `lerobot-edit-dataset` (its start is not counted); its time is scaled per event, and the more
events it splits the less its fixed costs count. Exits with 1
above 180 s, or if LeRobot takes less than 30 times as long.

    python benchmarks/bench_carve.py [--large 100000 --split 128]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness.repo import DATASET
from lerobot_wallwm.processors.caption.captioner import EventCaptioner, number_events
from lerobot_wallwm.processors.prepare.config import PrepareConfig
from lerobot_wallwm.processors.prepare.prepare import prepare
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.view.carver import EventCarver
from lerobot_wallwm.storage.places import DatasetConfig, OutputConfig

NEEDED_EVENTS_PER_S, NEEDED_REAL_TIME = 300, 20
LARGE_SECONDS, NEEDED_RATIO = 180, 30


def carve_many(dataset: Path, count: int, split: int) -> bool:
    """Times `count` events of our carver and `split` events of LeRobot's split; prints both."""
    from lerobot.datasets.dataset_tools import split_dataset
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    source = SourceDataset.open(dataset)
    segmenter, captioner = EventSegmenter(), EventCaptioner()
    events = number_events([captioner(episode, segmenter(episode)) for episode in source])
    actions = [event for event in events if event.level == "action"]
    times, more = divmod(count, len(actions))
    copies = {event.event_id: times + (i < more) for i, event in enumerate(actions)}
    with tempfile.TemporaryDirectory(dir=dataset.resolve().parent, prefix=".bench-") as folder:
        begin = time.perf_counter()
        result = EventCarver()(source, events, Path(folder) / "large", copies=copies)
        ours = time.perf_counter() - begin
        EventCarver()(source, events, Path(folder) / "view")
        view = LeRobotDataset("local/view", root=Path(folder) / "view")
        halves = {"first": list(range(split // 2)), "second": list(range(split // 2, split))}
        begin = time.perf_counter()
        split_dataset(view, halves, output_dir=Path(folder) / "split")
        theirs = time.perf_counter() - begin
    ratio = (theirs / split) / (ours / result.episodes)
    print(
        f"carve {result.episodes} events       {ours:8.2f} s {1e3 * ours / result.episodes:10.3f} ms an event"
    )
    print(
        f"LeRobot's split, {split:>3} events {theirs:8.2f} s {1e3 * theirs / split:10.3f} ms an event, {ratio:.0f} times ours"
    )
    return ours <= LARGE_SECONDS and ratio >= NEEDED_RATIO


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", type=Path, default=DATASET)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--copies", type=int, default=20, help="copies of each event in the large view")
    parser.add_argument(
        "--large", type=int, default=0, help="instead carve this many events and compare with LeRobot"
    )
    parser.add_argument(
        "--split", type=int, default=128, help="events that LeRobot splits for the comparison"
    )
    args = parser.parse_args()
    if args.large:
        ok = carve_many(args.dataset, args.large, args.split)
        print("passes" if ok else f"FAILS: needs {LARGE_SECONDS} s and {NEEDED_RATIO} times")
        return 0 if ok else 1
    source = SourceDataset.open(args.dataset)
    segmenter, captioner = EventSegmenter(), EventCaptioner()
    events = number_events([captioner(episode, segmenter(episode)) for episode in source])
    actions = [event for event in events if event.level == "action"]

    # Beside the source, so that videos are linked as they would be for a user with one disk.
    with tempfile.TemporaryDirectory(dir=args.dataset.resolve().parent, prefix=".bench-") as folder:
        once, many, whole = [], [], []
        copies = {event.event_id: args.copies for event in actions}
        for i in range(args.repeats):
            begin = time.perf_counter()
            EventCarver()(source, events, Path(folder) / f"once{i}")
            once.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            EventCarver()(source, events, Path(folder) / f"many{i}", copies=copies)
            many.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            config = PrepareConfig(
                dataset=DatasetConfig(root=args.dataset),
                out=OutputConfig(root=Path(folder) / f"all{i}"),
                quiet=True,
            )
            prepare(config)
            whole.append(time.perf_counter() - begin)
    seconds = source.info["total_frames"] / source.fps
    rate = len(actions) / statistics.median(once)
    large = len(actions) * args.copies / statistics.median(many)
    factor = seconds / statistics.median(whole)
    print(
        f"{len(source)} episodes, {len(actions)} action events, {seconds:.0f} s of demonstrations, median of {args.repeats}"
    )
    print(f"carve                 {statistics.median(once):8.3f} s {rate:10.0f} events/s")
    print(f"carve, {args.copies:>3} copies     {statistics.median(many):8.3f} s {large:10.0f} events/s")
    print(f"prepare, everything   {statistics.median(whole):8.3f} s {factor:10.0f} times real time")
    ok = rate >= NEEDED_EVENTS_PER_S and factor >= NEEDED_REAL_TIME
    print(
        "passes"
        if ok
        else f"FAILS: needs {NEEDED_EVENTS_PER_S} events/s and {NEEDED_REAL_TIME} times real time"
    )
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
