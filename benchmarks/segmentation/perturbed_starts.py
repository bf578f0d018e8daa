# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How often the simulator's expert recovers from perturbed starts, and what our captions make of its recoveries."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator

from benchmarks.harness.demonstrations import demonstrations
from benchmarks.harness.rows import Row, Share, Spread
from lerobot_wallwm.processors.caption.captioner import EventCaptioner
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter

QUICK = {"tries": 2}


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--tries", type=int, default=40, help="of each contact")
    parser.add_argument("--perturb", type=float, default=0.03, help="radius, metres")
    parser.add_argument("--perturb_yaw", type=float, default=15.0, help="largest turn, degrees")
    parser.add_argument("--seed", type=int, default=50000)


def rows(args: Namespace) -> Iterator[Row]:
    from lerobot_env_so101_sim.perturbation import CONTACTS, Perturbation

    segmenter, captioner = EventSegmenter(), EventCaptioner()
    seeds = range(args.seed, args.seed + args.tries)
    for contact in (None, *CONTACTS):
        drawn = (
            {}
            if contact is None
            else {s: Perturbation.draw(s, args.perturb, args.perturb_yaw, contact) for s in seeds}
        )
        solved = [d.episode for d in demonstrations(seeds, perturbations=drawn) if d.success]
        patterns: Counter[str] = Counter()
        for episode in solved:
            events = captioner(episode, segmenter(episode))
            patterns[" ".join(event.label for event in events if event.level == "action")] += 1
        name = contact or "unperturbed"
        seconds = Spread.of([len(episode) / episode.fps for episode in solved]) if solved else None
        yield Row("expert", {"start": name, "succeed": Share(len(solved), args.tries), "seconds": seconds})
        for pattern, often in patterns.most_common(4):
            yield Row("labels of the events", {"start": name, "count": often, "pattern": pattern})
