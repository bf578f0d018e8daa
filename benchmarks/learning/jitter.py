# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What do boundary errors cost the policy? Trains nano on events whose boundaries are wrong, scores it on right ones.

    python benchmarks/jitter_study.py --steps 400 --seeds 0 1 2 --jobs 2

The committed SO-101 demonstrations, cut where the scripted expert changes its phase and captioned by `EventCaptioner`,
are the truth. Training views of the same frames:

* exact: the expert's boundaries; segmenter: those that `EventSegmenter` finds, with the captions it leads to;
* 0.1 s, 0.25 s, 0.5 s: every boundary moved by a normal error of this standard deviation (mean event: 0.65 s), then to the
  nearest places that keep the order and 0.15 s, `--segmenter.min_event_s`, for each event; captions stay with their events;
* dropped: 3 of 10 boundaries lost at random, what is joined keeps the caption of its longest part; added: 3 of 10 events cut
  in two at a random place, both with its caption;
* uniform: equal parts, as many as there are events, each with the caption that fills most of it.

Each seed draws its own errors. Steps, batches and seeds are the same for all views. Errors are on held-out demonstrations
with the true boundaries and captions and without imagination: `near` is the mean absolute error of the actions over the
next 8 steps inside the event, `event` over its rest, both in degrees (gripper 0 to 100), `remaining` that of the predicted
time to the event's end, in seconds. `F1` is the training boundaries' own, within 0.1 s.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.harness.study import parse_study, result_path, run_all, study_parser, write_table
from benchmarks.learning.boundary_errors import Interval, added, dropped, moved, uniform
from benchmarks.learning.table import paired, spread
from benchmarks.learning.variants import Variant

DEVIATIONS = {"0.1 s": 0.1, "0.25 s": 0.25, "0.5 s": 0.5}
VIEWS = ("exact", *DEVIATIONS, "segmenter", "dropped", "added", "uniform")
ALIKE = ("exact", "segmenter", "uniform")  # of which a seed draws nothing
SHARE, LEAST_S = 0.3, 0.15
FIGURES = ("near", "event", "remaining")


def main() -> None:
    """The command line."""
    parser = study_parser(__doc__, "jitter_study", "VIEW")
    parser.add_argument("--observations", type=int, default=240, help="held-out ones, at most")
    parser.add_argument("--only", nargs="*", choices=VIEWS, help="views; all by default")
    args = parse_study(parser)
    if args.run:
        _one(args)
        return
    views = [view for view in VIEWS if not args.only or view in args.only]
    _prepare(args, views)
    write_table(
        args,
        table(run_all("benchmarks.learning.jitter", args, views, ["--observations", str(args.observations)])),
    )


def spoiled(view: str, intervals: Sequence[Interval], fps: float, rng: np.random.Generator) -> list[Interval]:
    """An episode's intervals as a view has them; `segmenter` is none of these."""
    least = round(LEAST_S * fps)
    if view in DEVIATIONS:
        return moved(intervals, DEVIATIONS[view] * fps, least, rng)
    if view == "dropped":
        return dropped(intervals, SHARE, rng)
    if view == "added":
        return added(intervals, SHARE, least, rng)
    return {"exact": list, "uniform": uniform}[view](intervals)


def table(runs: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table of the views that have runs."""
    by_view: dict[str, dict[int, Mapping[str, Any]]] = {}
    for run in runs:
        by_view.setdefault(run["view"], {})[run["seed"]] = run
    lines = [
        "| training boundaries | F1 | events | "
        + " | ".join(FIGURES)
        + " | near, against exact | event | remaining |",
        "|---|---|---|" + "---|" * (2 * len(FIGURES)),
    ]
    for view in (v for v in VIEWS if v in by_view):
        seeds = by_view[view]
        cells = [
            f"{mean(r['f1'] for r in seeds.values()):.2f}",
            f"{mean(r['events'] for r in seeds.values()):.0f}",
        ]
        cells += [spread([r["errors"][figure] for r in seeds.values()]) for figure in FIGURES]
        for figure in FIGURES:
            values, exact = (
                {s: r["errors"][figure] for s, r in group.items()}
                for group in (seeds, by_view.get("exact", {}))
            )
            cells.append("" if view == "exact" else paired(values, exact))
        lines.append(f"| {view} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _view(args: argparse.Namespace, view: str, seed: int) -> Path:
    name = view.replace(" ", "_")
    # Every view's folder is called `train`, by which `WindowsInMemory` names decoded frames: all views tile the same frames
    # in the same order, so that they are decoded once.
    return args.out / "views" / (name if view in ALIKE else f"{name}-{seed}") / "train"


def _prepare(args: argparse.Namespace, views: Sequence[str]) -> None:
    """All views with their boundaries' F1, and the decoded frames; what exists is left alone."""
    from benchmarks.learning.one_run import write_result
    from benchmarks.learning.windows_in_memory import WindowsInMemory
    from benchmarks.segmentation.boundary_score import BoundaryScore, boundary_score, tolerance_frames
    from benchmarks.segmentation.score import true_boundaries
    from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
    from lerobot_wallwm.processors.caption.captioner import EventCaptioner
    from lerobot_wallwm.processors.segment.segmenter import Cut, EventSegmenter, Segmentation
    from lerobot_wallwm.processors.source.episodes import SourceDataset
    from lerobot_wallwm.processors.source.events import Event
    from lerobot_wallwm.processors.source.split import split_episodes
    from lerobot_wallwm.processors.view.carver import EventCarver

    source = SourceDataset.open(args.dataset)
    bounds = true_boundaries(args.dataset.with_name(f"{args.dataset.name}_phases.parquet"))
    train, heldout = split_episodes(source.episode_indices, 0.2, 0)
    config = WallwmConfig(push_to_hub=False)
    deltas = config.observation_delta_indices, config.action_delta_indices
    segmenter, captioner = EventSegmenter(), EventCaptioner()
    truth: dict[int, list[Event]] = {}
    found: dict[int, list[Event]] = {}
    for episode in source:
        cuts = tuple(Cut(frame, "action", 1.0, "expert") for frame in bounds[episode.index])
        for events, segmentation in (
            (truth, Segmentation(len(episode), cuts)),
            (found, segmenter(episode)),
        ):
            captioned = captioner(episode, segmentation)
            events[episode.index] = [event for event in captioned if event.level == "action"]

    def carve(place: Path, by_episode: Mapping[int, Sequence[Event]], facts: Mapping[str, Any]) -> None:
        if not place.exists():
            events = [e for events in by_episode.values() for e in events]
            events = [replace(event, event_id=i, parent=-1) for i, event in enumerate(events)]
            EventCarver("action").carve(source, events, place)
        windows = WindowsInMemory(place, args.out / "frames", *deltas)
        rows = (len(e.state) for e in source if e.index in by_episode)
        if len(windows) != sum(rows):
            raise SystemExit(f"{place} does not hold all frames of its episodes")
        write_result(_facts(place), dict(facts))

    carve(args.out / "views/true/heldout", {index: truth[index] for index in heldout}, {})
    tolerance = tolerance_frames(source.fps)
    for view in views:
        for seed in args.seeds:
            place = _view(args, view, seed)
            if _facts(place).exists():
                continue
            by_episode, score = {}, BoundaryScore()
            for index in train:
                true = truth[index]
                if view == "segmenter":
                    by_episode[index] = found[index]
                else:
                    rng = np.random.default_rng([seed, index, VIEWS.index(view)])
                    intervals = [(event.start, event.end, event.caption) for event in true]
                    templates = {event.caption: event for event in true}
                    by_episode[index] = [
                        replace(templates[caption], start=start, end=end)
                        for start, end, caption in spoiled(view, intervals, source.fps, rng)
                    ]
                starts = [event.start for event in by_episode[index]][1:]
                score += boundary_score(starts, [event.start for event in true][1:], tolerance)
            carve(place, by_episode, {"f1": score.f1, "events": sum(map(len, by_episode.values()))})


def _facts(place: Path) -> Path:
    return place.with_name("facts.json")


def _one(args: argparse.Namespace) -> None:
    import torch

    from benchmarks.learning.one_run import Places, train, write_result

    torch.set_num_threads(1)
    view, seed = args.run[0], int(args.run[1])
    result = result_path(args, view, seed)
    root = args.out / "checkpoints" / result.stem
    place = _view(args, view, seed)
    places = Places(
        {view: place}, args.out / "views/true/heldout", args.out / "frames", Path(), {}, root.parent
    )
    trained = train(Variant(view, "", view=view), seed, args.steps, args.batch, places, root)
    facts = json.loads(_facts(place).read_text())
    errors = score(root, places, args.observations)
    write_result(result, {"view": view, "seed": seed, **facts, **trained, "errors": errors})


def score(root: Path, places: Any, at_most: int) -> dict[str, float]:
    """Errors of a checkpoint on held-out events; see the head of the file."""
    from benchmarks.learning.one_run import heldout_observations, next_steps
    from lerobot_wallwm.check.measure.checkpoint import Checkpoint
    from lerobot_wallwm.check.measure.observations import mean_absolute, predict

    checkpoint = Checkpoint(root)
    checkpoint.config.imagination = "none"
    view, _, seen = heldout_observations(checkpoint, places, at_most)
    prediction = predict(checkpoint, seen)
    actions, remaining = prediction.actions, prediction.remaining
    return {
        "near": mean_absolute(actions - seen.true, next_steps(seen.valid)),
        "event": mean_absolute(actions - seen.true, seen.valid),
        "remaining": float(np.abs(remaining - seen.remaining).mean()) / view.meta.fps,
    }


if __name__ == "__main__":
    main()
