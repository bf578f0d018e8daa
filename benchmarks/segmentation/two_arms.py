# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Two arms: which frames do each arm's captions name wrongly?

Two of the committed demonstrations stand side by side as one episode of two SO-101 arms, the right one later by none, half or
all of the left one's time, so that arms work at once, overlapping or one after the other. While it waits, an arm rests
with the noise of a held pose. Named as `bi_so_follower` names its joints, unnamed, and as ALOHA's 14 numbers (a seventh joint
that never moves). Right is what each arm's scripted expert was doing, with that arm's object; a frame is wrong where the
arm's track has another verb or another object. Frames within 0.1 s of a change of phase are not counted. Fails below 0.9 of
any arm's frames.
"""

from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq

from benchmarks.harness.repo import DATASET, PHASES
from benchmarks.harness.rows import Row, Share, bar
from benchmarks.segmentation.score import tolerance_frames
from lerobot_wallwm.embodiment.description import Embodiment
from lerobot_wallwm.embodiment.recognise import Rows, recognise
from lerobot_wallwm.language.instruction import parse_instruction
from lerobot_wallwm.processors.caption.captioner import EventCaptioner
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import Episode, SourceDataset

LABELS = {"descend": "approach", "close": "grasp", "open": "release"}
ARMS = ("left arm", "right arm")
LAYOUTS = ("bi_so names", "no names", "ALOHA's 14")
SHIFTS = (0.0, 0.5, 1.0)
QUICK = {"pairs": 4}


def phases(length: int, episode: int) -> list[str]:
    """The verb of each frame; `retreat` to the end."""
    table = pq.read_table(PHASES).to_pylist()
    verbs = ["retreat"] * length
    for row in (row for row in table if row["episode_index"] == episode):
        verbs[row["start"] : row["end"]] = [LABELS.get(row["phase"], row["phase"])] * (
            row["end"] - row["start"]
        )
    return verbs


def beside(
    left: Episode, right: Episode, shift: float, layout: str
) -> tuple[Episode, tuple[list[str], list[str]]]:
    """Two demonstrations as one of two arms, and each arm's verbs; `wait` before and after its own."""
    start = round(shift * len(left))
    total = max(len(left), start + len(right))
    rng, values, verbs = np.random.default_rng(left.index), [], []
    for arm, first in ((left, 0), (right, start)):
        pads = (first, total - first - len(arm))
        rows = [np.pad(v, (pads, (0, 0)), mode="edge") for v in (arm.state, arm.action)]
        if layout == LAYOUTS[2]:
            rows = [np.hstack([v[:, :5], np.zeros((total, 1)), v[:, 5:]]) for v in rows]
        rows[0] = rows[0] + rng.normal(0, 0.02, rows[0].shape)  # what an encoder's step leaves of a held pose
        values.append(rows)
        verbs.append(["wait"] * pads[0] + phases(len(arm), arm.index) + ["wait"] * pads[1])
    state, action = (np.hstack(parts) for parts in zip(*values, strict=True))
    names = tuple(f"{side}_{name}" for side in ("left", "right") for name in left.state_names)
    names = names if layout == LAYOUTS[0] else ()
    tasks = (
        f"{e.task.replace(' and ', f' with the {arm} and ', 1)}"
        for e, arm in zip((left, right), ARMS, strict=True)
    )
    episode = Episode(left.index, ", then ".join(tasks), left.fps, state, action, names, names)
    return episode, (verbs[0], verbs[1])


def wrong_frames(
    episode: Episode, verbs: tuple[list[str], list[str]], objects: list[str]
) -> list[tuple[Counter, int]]:
    """Of each arm: its frames that are named wrongly, by `said for right`, and how many are counted."""
    segmentation, captioner = EventSegmenter()(episode), EventCaptioner()
    tracks, events = captioner.tracks(episode, segmentation), captioner(episode, segmentation)
    actions = [event for event in events if event.level == "action"]
    near, found = tolerance_frames(episode.fps), []
    for arm, right, thing in zip(ARMS, verbs, objects, strict=True):
        changes = [t for t in range(1, len(right)) if right[t] != right[t - 1]]
        wrong, counted = Counter(), 0
        for span in tracks[arm]["action"]:
            for t in range(span.start, span.end):
                if any(abs(t - change) <= near for change in changes):
                    continue
                counted += 1
                caption = next(e.caption for e in actions if e.start <= t < e.end)
                own = next((part for part in caption.split("; ") if part.startswith(arm)), "")
                if span.label != right[t]:
                    wrong[f"{span.label} for {right[t]}"] += 1
                elif right[t] in ("reach", "approach", "grasp", "lift", "move", "lower") and thing not in own:
                    wrong[f"another object in {right[t]}"] += 1
        found.append((wrong, counted))
    return found


def described(episodes: list[Episode]) -> Embodiment:
    """What the dimensions are, as all episodes together tell it."""
    state, action = (np.concatenate([getattr(e, name) for e in episodes]) for name in ("state", "action"))
    index = np.concatenate([np.full(len(e), i) for i, e in enumerate(episodes)])
    first, widths = episodes[0], (action.shape[1], state.shape[1])
    return recognise(first.action_names, first.state_names, widths, Rows(action, state, index, first.fps))


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--pairs", type=int, default=20, help="of demonstrations, for each layout and shift")


def rows(args: Namespace) -> Iterator[Row]:
    source = SourceDataset.open(DATASET)
    least = 1.0
    for layout in LAYOUTS:
        for shift in SHIFTS:
            totals = {arm: (Counter(), [0]) for arm in ARMS}
            made = [
                (
                    *beside(left, right, shift, layout),
                    [parse_instruction(e.task)["object"] for e in (left, right)],
                )
                for left, right in (
                    (source.read(2 * p + 1), source.read(2 * p + 2)) for p in range(args.pairs)
                )
            ]
            what = described([episode for episode, _, _ in made])
            for episode, verbs, objects in made:
                found = wrong_frames(replace(episode, embodiment=what), verbs, objects)
                for arm, (wrong, counted) in zip(ARMS, found, strict=True):
                    totals[arm][0].update(wrong)
                    totals[arm][1][0] += counted
            for arm, (wrong, (counted,)) in totals.items():
                right_frames = Share(counted - sum(wrong.values()), counted)
                least = min(least, right_frames.hits / max(counted, 1))
                often = ", ".join(f"{what} {n}" for what, n in wrong.most_common(4))
                yield Row(
                    "frames named right",
                    {
                        "layout": layout,
                        "right arm later by": shift,
                        "arm": arm,
                        "right": right_frames,
                        "wrong": often or "none",
                    },
                )
    yield bar("least share of an arm's frames", least, 0.9)
