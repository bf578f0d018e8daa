# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Scores recovery detection against a scripted expert's missed grasps. The expert's phases file is the ground truth.

An episode is a recovery episode if its `missed_grasp` says so; there a frame recovers if it lies between the end of the
missed `close` and the end of the next one. Perturbed recordings (`--perturb`) have no such frames: what they hold is all
recovery, and they are left out. Precision and recall of episodes and of frames, each kind of
recovery on its own: the expert never re-grasps nor corrects, so anything of those kinds is a false alarm. "Measured
motion" reads the arm's own positions instead of its commands. The committed data was at hand while the rules were
written; for a clean figure `--fresh` plays new demonstrations in the simulator, without cameras (1 to 2 s each).

    python benchmarks/recovery_score.py [--dataset=ROOT] [--phases=ROOT_phases.parquet] [--fresh=200 --seed=90000]
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.harness.repo import DATASET
from lerobot_wallwm.processors.caption.captioner import EventCaptioner, number_events
from lerobot_wallwm.processors.recover.recovery import KINDS, find_recoveries
from lerobot_wallwm.processors.recover.sampler import RecoveryConfig, recovery_counts
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import Episode, SourceDataset


def true_spans(path: Path) -> dict[int, tuple[int, int] | None]:
    """Frames `[start, end)` of each episode's recovery from its missed grasp; None where nothing was missed."""
    rows: dict[int, list[dict]] = defaultdict(list)
    for row in pq.read_table(path).to_pylist():
        rows[row["episode_index"]].append(row)
    spans: dict[int, tuple[int, int] | None] = {}
    for episode, phases in rows.items():
        if any(row.get("perturbed") for row in phases):
            continue
        closes = [row for row in phases if row["phase"] == "close"]
        spans[episode] = (closes[0]["end"], closes[1]["end"]) if phases[0]["missed_grasp"] else None
    return spans


def fresh_episodes(number: int, seed: int) -> tuple[list[Episode], dict[int, tuple[int, int] | None]]:
    """Successful demonstrations of new seeds and their recoveries."""
    from itertools import groupby

    from tqdm import tqdm

    from lerobot_env_so101_sim.env import MOTORS, So101PickPlaceEnv
    from lerobot_env_so101_sim.record import demonstrate

    names = tuple(f"{motor}.pos" for motor in MOTORS)
    env = So101PickPlaceEnv(split="all", cameras=False)
    episodes: list[Episode] = []
    spans: dict[int, tuple[int, int] | None] = {}
    for tried in tqdm(range(number), desc="demonstrating", unit=" episodes"):
        frames, commands, style, success = demonstrate(env, seed + tried)
        if not success:
            continue
        state, action = (np.stack([f[key] for f in frames]) for key in ("observation.state", "action"))
        index, fps = len(episodes), float(env.metadata["render_fps"])
        episodes.append(Episode(index, env.task_description, fps, state, action, names, names))
        ends, at = [], 0
        for phase, run in groupby(commands, key=lambda command: command.phase):
            at += len(list(run))
            ends += [at] if phase == "close" else []
        spans[index] = (ends[0], ends[1]) if style.misses_first_grasp else None
    env.close()
    return episodes, spans


def as_measured(episode: Episode) -> Episode:
    """The episode as if its commands had not been recorded."""
    return replace(episode, action=np.vstack([episode.state[1:], episode.state[-1:]]))


def ratio(hits: int, of: int) -> str:
    """`hits / of` with three digits, or a dash."""
    return f"{hits / of:.3f}" if of else "-"


def score(name: str, episodes: Iterable[Episode], truth: dict[int, tuple[int, int] | None]) -> None:
    """Prints one block of the table."""
    episodes = [episode for episode in episodes if episode.index in truth]
    segmenter, captioner = EventSegmenter(), EventCaptioner()
    table = number_events([captioner(episode, segmenter(episode)) for episode in episodes])
    found = find_recoveries(table, episodes)
    by_id = {event.event_id: event for event in table}
    lengths = {episode.index: len(episode) for episode in episodes}
    missed = {episode for episode in lengths if truth[episode]}
    print(f"\n{name}: {len(lengths)} episodes, {len(missed)} with a missed grasp")
    print(
        f"{'kind':<12}{'events':>8}{'episodes':>10}{'precision':>11}{'recall':>8}{'frames: precision':>19}{'recall':>8}"
    )
    for kind in (*KINDS, "any"):
        own = [by_id[r.event_id] for r in found if kind in (r.kind, "any")]
        flagged = {event.episode_index for event in own}
        hits = tp = marked = total = 0
        for episode, length in lengths.items():
            true, mark = np.zeros(length, bool), np.zeros(length, bool)
            span = truth[episode]
            if span:
                true[slice(*span)] = True
            for event in own:
                if event.episode_index == episode:
                    mark[event.start : event.end] = True
            hits += bool(span) and episode in flagged
            tp, marked, total = (
                tp + int((true & mark).sum()),
                marked + int(mark.sum()),
                total + int(true.sum()),
            )
        print(
            f"{kind:<12}{len(own):>8}{len(flagged):>10}{ratio(hits, len(flagged)):>11}"
            f"{ratio(hits, len(missed)):>8}{ratio(tp, marked):>19}{ratio(tp, total):>8}"
        )
    actions = [event for event in table if event.level == "action"]
    for share in (0.05, 0.1, 0.2):
        recovering = {recovery.event_id for recovery in found}
        copies = recovery_counts(actions, recovering, RecoveryConfig(share))
        mass = np.array([event.length * copies[event.event_id] for event in actions], float)
        recovers = np.array([event.event_id in recovering for event in actions], bool)
        plain = np.array([event.length for event in actions], float)
        before = plain[recovers].sum() / plain.sum()
        print(
            f"  share {share:.2f}: frames of recoveries {before:.3f} -> {mass[recovers].sum() / mass.sum():.3f}, "
            f"exact {(1 - share) * before + share * bool(recovers.any()):.3f}, at most {max(copies.values())} copies"
        )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", type=Path, default=DATASET)
    parser.add_argument("--phases", type=Path, help="ground truth; default: beside the dataset")
    parser.add_argument("--fresh", type=int, default=0, help="play so many new demonstrations instead")
    parser.add_argument("--seed", type=int, default=90000, help="of the first new demonstration")
    args = parser.parse_args()
    if args.fresh:
        episodes, spans = fresh_episodes(args.fresh, args.seed)
        score("commands", episodes, spans)
        score("measured motion", (as_measured(episode) for episode in episodes), spans)
        return 0
    phases = args.phases or args.dataset.with_name(f"{args.dataset.name}_phases.parquet")
    source, truth = SourceDataset.open(args.dataset), true_spans(phases)
    score("commands", source, truth)
    score("measured motion", (as_measured(episode) for episode in source), truth)
    return 0


if __name__ == "__main__":
    sys.exit(main())
