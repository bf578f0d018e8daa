# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How many planted faults `EpisodeCleaner` finds, and how many sound episodes it marks.

Each fault is planted into every episode in turn, at a random place; the others stay sound and say what is usual. The first
row counts what is marked where nothing was planted.

    python benchmarks/bench_clean.py examples/so101_sim/data/so101_pick_place
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from lerobot_wallwm.processors.clean.cleaner import EpisodeCleaner
from lerobot_wallwm.processors.clean.dataset import recordings
from lerobot_wallwm.processors.clean.rules import CleanConfig, Recording
from lerobot_wallwm.processors.source.episodes import SourceDataset

COLUMNS = ("state", "action", "timestamp", "frame_index")


def part(episode: Recording, start: int, end: int) -> Recording:
    return replace(episode, **{name: getattr(episode, name)[start:end] for name in COLUMNS})


def leap(size: float) -> Callable[[Recording, np.random.Generator], Recording]:
    def plant(episode: Recording, rng: np.random.Generator) -> Recording:
        state, dim = episode.state.copy(), int(rng.integers(0, episode.state.shape[1] - 1))
        state[int(rng.integers(5, len(state) - 5)) :, dim] += size * np.ptp(state[:, dim])
        return replace(episode, state=state)

    return plant


def nan(episode: Recording, rng: np.random.Generator) -> Recording:
    action = episode.action.copy()
    action[rng.integers(len(action)), rng.integers(action.shape[1])] = np.nan
    return replace(episode, action=action)


def repeated(episode: Recording, rng: np.random.Generator) -> Recording:
    clock, at = episode.timestamp.copy(), int(rng.integers(1, len(episode)))
    clock[at] = clock[at - 1]
    return replace(episode, timestamp=clock)


def slow_clock(episode: Recording, rng: np.random.Generator) -> Recording:
    return replace(episode, timestamp=episode.timestamp * rng.choice([0.5, 0.8, 1.25, 2.0]))


def frozen_gripper(episode: Recording, rng: np.random.Generator) -> Recording:
    state = episode.state.copy()
    state[:, -1] = state[0, -1]
    return replace(episode, state=state)


def frozen_state(episode: Recording, rng: np.random.Generator) -> Recording:
    return replace(episode, state=np.repeat(episode.state[:1], len(episode), axis=0))


def late_start(episode: Recording, rng: np.random.Generator) -> Recording:
    return part(episode, int(rng.integers(10, len(episode) // 2)), len(episode))


def early_end(episode: Recording, rng: np.random.Generator) -> Recording:
    return part(episode, 0, int(rng.integers(len(episode) // 2, len(episode) - 10)))


def resting(episode: Recording, rng: np.random.Generator) -> Recording:
    def rest(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.repeat(values[-1:], 9 * len(values), axis=0)])

    frames = np.arange(10 * len(episode))
    return replace(
        episode,
        state=rest(episode.state),
        action=rest(episode.action),
        timestamp=frames / episode.fps,
        frame_index=frames,
    )


FAULTS = {
    "a value that is NaN": (nan, "finite"),
    "a repeated timestamp": (repeated, "timestamps"),
    "a clock of another rate": (slow_clock, "frame_rate"),
    "state frozen": (frozen_state, "constant_state"),
    "gripper's state frozen": (frozen_gripper, "gripper_frozen"),
    "a leap of 30 % of the episode's range": (leap(0.3), "discontinuity"),
    "a leap of 60 %": (leap(0.6), "discontinuity"),
    "a leap of 100 %": (leap(1.0), "discontinuity"),
    "first 10 frames to half of it missing": (late_start, "truncated_start"),
    "last 10 frames to half of it missing": (early_end, "truncated_goal"),
    "nine tenths at rest": (resting, "quasi_static"),
}


def main(root: str) -> None:
    episodes = list(recordings(SourceDataset.open(root)))
    cleaner = EpisodeCleaner(CleanConfig()).fit(episodes)
    marked: Counter[str] = Counter()
    for episode in episodes:
        marked.update({f"{f.rule} ({f.verdict})" for f in cleaner(episode).findings if f.verdict != "ok"})
    print(f"{len(episodes)} episodes; marked as they are: {dict(marked) or 'none'}")
    print(f"{'planted':<40}{'rule':<20}{'found':>8}{'left out':>10}")
    for name, (plant, rule) in FAULTS.items():
        rng = np.random.default_rng(0)
        found = excluded = 0
        for episode in tqdm(episodes, desc=name, file=sys.stderr, leave=False):
            verdict = cleaner(plant(episode, rng))
            found += any(f.rule == rule and f.verdict != "ok" for f in verdict.findings)
            excluded += verdict.verdict == "exclude"
        print(f"{name:<40}{rule:<20}{found / len(episodes):>8.0%}{excluded / len(episodes):>10.0%}")


if __name__ == "__main__":
    main(sys.argv[1])
