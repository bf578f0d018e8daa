# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Recovery detection against a scripted expert's missed grasps.

An episode is a recovery episode if the expert missed a grasp in it; there a frame recovers if it lies between the end of
the missed `close` and the end of the next one. Perturbed recordings have no such frames: what they hold is all recovery,
and they are left out. The expert never re-grasps nor corrects, so anything of those kinds is a false alarm. "Measured
motion" reads the arm's own positions instead of its commands. The committed data was at hand while the rules were
written; for a clean figure `--fresh=150` plays new demonstrations in the simulator.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.harness.demonstrations import demonstrations, measured
from benchmarks.harness.repo import DATASET
from benchmarks.harness.rows import Row, Share
from lerobot_wallwm.processors.caption.captioner import EventCaptioner, number_events
from lerobot_wallwm.processors.recover.recovery import KINDS, find_recoveries
from lerobot_wallwm.processors.recover.sampler import RecoveryConfig, recovery_counts
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import Episode, SourceDataset

Span = tuple[int, int] | None


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--dataset", type=Path, default=DATASET)
    parser.add_argument("--phases", type=Path, help="ground truth; default: beside the dataset")
    parser.add_argument("--fresh", type=int, default=0, help="play so many new demonstrations instead")
    parser.add_argument("--seed", type=int, default=90000, help="of the first new demonstration")


def span(phases: list[tuple[str, int]], missed: bool) -> Span:
    """Frames `[start, end)` of the recovery from a missed grasp; None where nothing was missed."""
    closes = [end for name, end in phases if name == "close"]
    return (closes[0], closes[1]) if missed else None


def true_spans(path: Path) -> dict[int, Span]:
    """The recovery of each episode of a phases file."""
    phases: dict[int, list[dict]] = defaultdict(list)
    for row in pq.read_table(path).to_pylist():
        phases[row["episode_index"]].append(row)
    return {
        episode: span([(row["phase"], row["end"]) for row in own], own[0]["missed_grasp"])
        for episode, own in phases.items()
        if not any(row.get("perturbed") for row in own)
    }


def rows(args: Namespace) -> Iterator[Row]:
    if args.fresh:
        played = [d for d in demonstrations(range(args.seed, args.seed + args.fresh)) if d.success]
        episodes = [replace(d.episode, index=i) for i, d in enumerate(played)]
        truth = {i: span(d.phases, d.missed) for i, d in enumerate(played)}
    else:
        truth = true_spans(args.phases or args.dataset.with_name(f"{args.dataset.name}_phases.parquet"))
        episodes = [episode for episode in SourceDataset.open(args.dataset) if episode.index in truth]
    yield from score("commands", episodes, truth)
    yield from score("measured motion", [measured(episode) for episode in episodes], truth)


def score(name: str, episodes: list[Episode], truth: dict[int, Span]) -> Iterator[Row]:
    """Each kind of recovery on its own, and what drawing recoveries more often comes to."""
    segmenter, captioner = EventSegmenter(), EventCaptioner()
    table = number_events([captioner(episode, segmenter(episode)) for episode in episodes])
    found = find_recoveries(table, episodes)
    by_id = {event.event_id: event for event in table}
    missed = {episode.index for episode in episodes if truth[episode.index]}
    title = f"{name}: {len(episodes)} episodes, {len(missed)} with a missed grasp"
    for kind in (*KINDS, "any"):
        own = [by_id[r.event_id] for r in found if kind in (r.kind, "any")]
        flagged = {event.episode_index for event in own}
        both = marked = total = 0
        for episode in episodes:
            true, mark = np.zeros(len(episode), bool), np.zeros(len(episode), bool)
            true[slice(*(truth[episode.index] or (0, 0)))] = True
            for event in own:
                if event.episode_index == episode.index:
                    mark[event.start : event.end] = True
            both, marked, total = (
                both + int((true & mark).sum()),
                marked + int(mark.sum()),
                total + int(true.sum()),
            )
        cells = {"kind": kind, "events": len(own), "episodes": len(flagged)}
        cells |= {
            "named rightly": Share(len(flagged & missed), len(flagged)),
            "missed grasps found": Share(len(flagged & missed), len(missed)),
        }
        yield Row(
            title, {**cells, "frames named rightly": Share(both, marked), "frames found": Share(both, total)}
        )
    actions = [event for event in table if event.level == "action"]
    plain = np.array([event.length for event in actions], float)
    for share in (0.05, 0.1, 0.2):
        recovering = {recovery.event_id for recovery in found}
        copies = recovery_counts(actions, recovering, RecoveryConfig(share))
        mass = plain * [copies[event.event_id] for event in actions]
        recovers = np.array([event.event_id in recovering for event in actions], bool)
        before, after = (float(m[recovers].sum() / m.sum()) for m in (plain, mass))
        exact = (1 - share) * before + share * bool(recovers.any())
        cells = {
            "share asked for": share,
            "before": before,
            "after": after,
            "exact": exact,
            "copies, most": max(copies.values()),
        }
        yield Row(f"{name}: frames of recoveries", cells)
