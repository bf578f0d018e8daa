# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Carving speed (events/s) and the real-time factor of `wallwm prepare`. Exits with 1 below 300 events/s or 20 times.

python benchmarks/bench_carve.py
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from lerobot_wallwm.processors.captioner import EventCaptioner, number_events
from lerobot_wallwm.processors.carver import EventCarver
from lerobot_wallwm.processors.episodes import SourceDataset
from lerobot_wallwm.processors.prepare import DatasetConfig, OutputConfig, PrepareConfig, prepare
from lerobot_wallwm.processors.segmenter import EventSegmenter

DATASET = Path(__file__).resolve().parents[1] / "examples/so101_sim/data/so101_pick_place"
NEEDED_EVENTS_PER_S, NEEDED_REAL_TIME = 300, 20


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", type=Path, default=DATASET)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--copies", type=int, default=20, help="copies of each event in the large view")
    args = parser.parse_args()
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
