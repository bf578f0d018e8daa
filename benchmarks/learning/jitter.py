# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What do boundary errors cost the policy? Trains nano on events whose boundaries are wrong, scores it on right ones.

45 minutes on two cores. The committed SO-101 demonstrations, cut where the scripted expert changes its phase and
captioned by `EventCaptioner`, are the truth. Training views of the same frames:

* exact: the expert's boundaries; segmenter: those that `EventSegmenter` finds, with the captions it leads to;
* 0.1 s, 0.25 s, 0.5 s: every boundary moved by a normal error of this standard deviation (mean event: 0.65 s), then to
  the nearest places that keep the order and 0.15 s, `--segmenter.min_event_s`, for each event;
* uniform: equal parts, as many as there are events, each with the caption that fills most of it.

Each seed draws its own errors. Errors are on held-out demonstrations with the true boundaries and captions. F1 is the
training boundaries' own, within 0.1 s.
"""

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
from scipy.optimize import isotonic_regression

from benchmarks.harness.repo import PHASES
from benchmarks.harness.rows import Row
from benchmarks.learning import one_run
from benchmarks.segmentation.score import (
    BoundaryScore,
    boundary_score,
    tolerance_frames,
    true_boundaries,
    uniform_cuts,
)
from lerobot_wallwm.processors.caption.captioner import EventCaptioner
from lerobot_wallwm.processors.segment.segmenter import Cut, EventSegmenter, Segmentation
from lerobot_wallwm.processors.source.episodes import SourceDataset, split_episodes
from lerobot_wallwm.processors.source.events import Event
from lerobot_wallwm.processors.view.carver import EventCarver

# An episode is a list of these, (start, end, caption), which tile [0, T) before and after they are spoiled.
Interval = tuple[int, int, str]
DEVIATIONS = {"0.1 s": 0.1, "0.25 s": 0.25, "0.5 s": 0.5}
VIEWS = ("exact", *DEVIATIONS, "segmenter", "uniform")
LEAST_S = 0.15
QUICK = {**one_run.QUICK, "only": ["exact", "0.5 s"], "most": 12}
flags = partial(one_run.study_flags, steps=300)


def ordered(wanted: Sequence[float], length: int, least: int) -> list[int]:
    """The boundaries nearest to the wanted ones (least squares) that leave every interval `least` frames.

    With `least` frames a boundary taken off, they must not fall and must lie in `[least, length - count * least]`: an
    isotonic regression, cut off at both ends and rounded, none of which undoes the order.

    Args:
        wanted: Interior boundaries, frames, in the order of the events that they part.
        length: Frames of the episode.
        least: Frames of the shortest interval.

    Raises:
        ValueError: The episode is too short for so many intervals.
    """
    count = len(wanted)
    if length < (count + 1) * least:
        raise ValueError(f"{length} frames do not hold {count + 1} intervals of {least}")
    if not count:
        return []
    taken = np.arange(count) * least
    level = isotonic_regression(np.asarray(wanted, dtype=np.float64) - taken).x
    return (np.rint(np.clip(level, least, length - count * least)).astype(int) + taken).tolist()


def moved(
    intervals: Sequence[Interval], deviation: float, least: int, rng: np.random.Generator
) -> list[Interval]:
    """Every interior boundary moved by a normal error, its standard deviation in frames; captions stay in order."""
    bounds = [start for start, _, _ in intervals[1:]]
    errors = rng.normal(0.0, deviation, len(bounds)) if deviation else np.zeros(len(bounds))
    new = ordered(np.add(bounds, errors), intervals[-1][1], least) if deviation else bounds
    return _tiled(new, intervals[-1][1], [caption for *_, caption in intervals])


def uniform(intervals: Sequence[Interval]) -> list[Interval]:
    """As many equal parts; each gets the caption of the old interval that fills most of it."""
    length = intervals[-1][1]
    bounds = uniform_cuts(length, len(intervals))
    captions = []
    for start, end in zip([0, *bounds], [*bounds, length], strict=True):
        shares = [min(end, old_end) - max(start, old_start) for old_start, old_end, _ in intervals]
        captions.append(intervals[int(np.argmax(shares))][2])
    return _tiled(bounds, length, captions)


def _tiled(bounds: Sequence[int], length: int, captions: Sequence[str]) -> list[Interval]:
    return list(zip([0, *bounds], [*bounds, length], captions, strict=True))


def spoiled(view: str, intervals: Sequence[Interval], fps: float, rng: np.random.Generator) -> list[Interval]:
    """An episode's intervals as a view has them; `segmenter` is none of these."""
    if view in DEVIATIONS:
        return moved(intervals, DEVIATIONS[view] * fps, round(LEAST_S * fps), rng)
    return {"exact": list, "uniform": uniform}[view](intervals)


def rows(args: Namespace) -> Iterator[Row]:
    views = [view for view in VIEWS if not args.only or view in args.only]
    facts = carve_views(args, views)
    heldout = args.out / "views/true/heldout"
    jobs = [one_run.job(args, v, seed, place(args, v, seed), heldout) for seed in args.seeds for v in views]
    found = one_run.run_all(args, jobs)
    for view, seeds in found.items():
        own = [facts[view, seed] for seed in seeds]
        cells = {"training boundaries": view, "F1": mean(f["f1"] for f in own)}
        cells["events"] = mean(f["events"] for f in own)
        errors = one_run.compared(seeds, found.get("exact", {}), ("near", "event", "remaining"))
        yield Row(f"{args.steps} steps of {args.batch}, seeds {args.seeds}", {**cells, **errors})


def place(args: Namespace, view: str, seed: int) -> Path:
    """Of a training view. All are called `train`, by which their decoded frames are cached: they tile the same frames."""
    name = view.replace(" ", "_") + (f"-{seed}" if view in DEVIATIONS else "")
    return args.out / "views" / name / "train"


def carve_views(args: Namespace, views: Sequence[str]) -> dict[tuple[str, int], dict[str, float]]:
    """All views, and their boundaries' F1 and number of events; what exists is left alone."""
    source, bounds = SourceDataset.open(args.dataset), true_boundaries(PHASES)
    train, heldout = split_episodes(source.episode_indices[: args.most], 0.2, 0)
    segmenter, captioner = EventSegmenter(), EventCaptioner()
    truth: dict[int, list[Event]] = {}
    found: dict[int, list[Event]] = {}
    for episode in source:
        cuts = tuple(Cut(frame, "action", 1.0, "expert") for frame in bounds[episode.index])
        for events, segmentation in ((truth, Segmentation(len(episode), cuts)), (found, segmenter(episode))):
            captioned = captioner(episode, segmentation)
            events[episode.index] = [event for event in captioned if event.level == "action"]

    def carve(out: Path, by_episode: Mapping[int, Sequence[Event]]) -> None:
        if not out.exists():
            events = [e for events in by_episode.values() for e in events]
            events = [replace(event, event_id=i, parent=-1) for i, event in enumerate(events)]
            EventCarver("action").carve(source, events, out)

    carve(args.out / "views/true/heldout", {index: truth[index] for index in heldout})
    facts = {}
    for view in views:
        for seed in args.seeds:
            by_episode, score = {}, BoundaryScore()
            for index in train:
                by_episode[index] = (
                    found[index] if view == "segmenter" else respoil(view, seed, index, truth, source.fps)
                )
                starts, true = ([event.start for event in own[index]][1:] for own in (by_episode, truth))
                score += boundary_score(starts, true, tolerance_frames(source.fps))
            carve(place(args, view, seed), by_episode)
            facts[view, seed] = {"f1": score.f1, "events": sum(map(len, by_episode.values()))}
    return facts


def respoil(
    view: str, seed: int, index: int, truth: Mapping[int, Sequence[Event]], fps: float
) -> list[Event]:
    """An episode's true events with spoiled boundaries."""
    rng = np.random.default_rng([seed, index, VIEWS.index(view)])
    templates = {event.caption: event for event in truth[index]}
    intervals = [(event.start, event.end, event.caption) for event in truth[index]]
    return [replace(templates[c], start=a, end=b) for a, b, c in spoiled(view, intervals, fps, rng)]
