# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The stages of `wallwm prepare`: clean, synchronise, segment, caption, corrections, balance, recoveries, carve.

Each is made before anything is written, so that wrong flags are refused at once. Run in order, each reads from
`Preparation` what those before it left there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.embodiment.dataset import KEY
from lerobot_wallwm.language.config import VlmConfig
from lerobot_wallwm.language.instruction import Instructions, read_instruction_file
from lerobot_wallwm.language.view_events import is_view
from lerobot_wallwm.processors.balance.embedder import EventEmbedder
from lerobot_wallwm.processors.balance.stage import Balance, balance_events
from lerobot_wallwm.processors.caption.captioner import EventCaptioner, number_events
from lerobot_wallwm.processors.caption.report import SCHEMA as CAPTIONS
from lerobot_wallwm.processors.caption.vlm_captioner import VlmCaptioner
from lerobot_wallwm.processors.clean.cleaner import clean_for_prepare
from lerobot_wallwm.processors.motion.quasi_static import Motion, QuasiStaticPruner
from lerobot_wallwm.processors.prepare.config import PrepareConfig, ScaleConfig
from lerobot_wallwm.processors.recover.sampler import recovery_copies
from lerobot_wallwm.processors.segment.annotations import AnnotationMerger, read_annotations
from lerobot_wallwm.processors.segment.human_layer import HumanLayer
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import (
    ACTION,
    STATE,
    Episode,
    SourceDataset,
    split_episodes,
    write_rows,
)
from lerobot_wallwm.processors.source.events import Event, validate_events, write_events
from lerobot_wallwm.processors.synchronize.dataset import synchronize_for_prepare
from lerobot_wallwm.processors.view.card import command_line
from lerobot_wallwm.processors.view.carver import EventCarver
from lerobot_wallwm.storage.errors import DataError
from lerobot_wallwm.storage.places import OutputConfig, source_root
from lerobot_wallwm.storage.work_folder import Journals

CAPTIONERS = ("kinematic", "vlm")


@dataclass
class Preparation:
    """What the stages hand on.

    Attributes:
        folder: The output while it is being written.
        source: The dataset, without what the stages so far left out of it.
        journals: Results of long steps, for a run that goes on after a kill.
        parameters: Of all stages, for the views' sidecars.
        annotations: What people marked in the dataset; from the segmenting stage, as the next six.
        warnings: For the summary.
        lengths: Frames of each episode, by its index.
        low: Least value of each state and action dimension, by feature; `high` has the greatest.
        pruner: Leaves quasi-static frames out of the views; None keeps all.
        events: The event table so far.
        copies: How often each event of the training view is written, by `event_id`; None: once.
    """

    config: PrepareConfig
    folder: Path
    source: SourceDataset
    journals: Journals
    parameters: dict[str, Any]
    annotations: AnnotationMerger = field(default_factory=lambda: AnnotationMerger({}))
    warnings: list[str] = field(default_factory=list)
    lengths: dict[int, int] = field(default_factory=dict)
    low: dict[str, np.ndarray] = field(default_factory=dict)
    high: dict[str, np.ndarray] = field(default_factory=dict)
    pruner: QuasiStaticPruner | None = None
    events: list[Event] = field(default_factory=list)
    balance: Balance | None = None
    copies: dict[int, int] | None = None

    @property
    def least(self) -> int:
        """Frames of the shortest event."""
        return EventSegmenter(self.config.segmenter, self.config.kinematics).min_frames(self.source.fps)

    def split(self) -> tuple[list[int], list[int]]:
        """Episodes of the training view and of the held-out one."""
        return split_episodes(self.source.episode_indices, self.config.heldout, self.config.seed)

    def progress(self, items: Any, unit: str, name: str, total: int | None = None) -> Any:
        """A progress bar."""
        from tqdm import tqdm

        disable = self.config.quiet
        return tqdm(items, unit=f" {unit}", desc=name, total=total, file=sys.stderr, disable=disable)


class Stage:
    """One step; `name` is the key of its report in `summary.json`, `settings` the fields of the config it depends on."""

    name: str
    settings: tuple[str, ...] = ()

    def __init__(self, config: PrepareConfig) -> None:
        self.config = config

    def parameters(self) -> dict[str, Any]:
        """The settings, for the views' sidecars."""
        values = asdict(self.config)
        return {name: values[name] for name in self.settings}

    def run(self, prepared: Preparation) -> dict[str, Any]:
        """Does the step, and returns its report; an empty one is left out of the summary."""
        raise NotImplementedError


class CleanStage(Stage):
    """Leaves out episodes that no robot can have recorded so; writes `cleaning.parquet`."""

    name, settings = "cleaning", ("clean",)

    def run(self, prepared: Preparation) -> dict[str, Any]:
        rules = self.config.clean, prepared.least
        flags = [asdict(rules[0]), prepared.least, self.config.embodiment]
        journal = prepared.journals("clean", flags)
        with prepared.progress(range(len(prepared.source)), "episodes", "clean") as bar:
            prepared.source, report = clean_for_prepare(
                prepared.source, prepared.folder, *rules, journal, bar.update
            )
        return report


class SynchronizeStage(Stage):
    """Measures how far cameras lag behind joints, and shifts the rows; writes `sync.parquet`."""

    name, settings = "synchronization", ("synchronizer",)

    def run(self, prepared: Preparation) -> dict[str, Any]:
        bar = prepared.progress(None, "episodes", "synchronize", len(prepared.source))
        how = prepared.source, prepared.folder, self.config.synchronizer, bar
        prepared.source, report = synchronize_for_prepare(*how)
        return report


Annotate = Callable[[Episode], list[Event]]


def open_source(config: PrepareConfig) -> SourceDataset:
    """The dataset, its tasks read as the flags say.

    Raises:
        DataError: It cannot be used, is a view itself, or the file of `--instructions` cannot be read.
    """
    source = SourceDataset.open(source_root(config.dataset), config.embodiment)
    if is_view(source.root):
        problem = "holds events: it is a view that `wallwm prepare` wrote, whose episodes are cut already"
        raise DataError(source.root, "meta/episodes", problem, "give the dataset that it was cut from")
    given = read_instruction_file(config.instructions) if config.instructions else {}
    source.instructions = Instructions(source.instructions.tasks, given, config.object, config.target)
    return source


def annotator(config: PrepareConfig, instructions: Instructions) -> Annotate:
    """What is done with one episode at a time: from an `Episode` to its events, ids counted from 0."""
    segmenter = EventSegmenter(config.segmenter, config.kinematics)
    captioner = EventCaptioner(config.kinematics, instructions)
    return lambda episode: captioner(episode, segmenter(episode))


class SegmentStage(Stage):
    """Cuts each episode into events with kinematic captions, if `annotate` does not; spans that a person annotated win."""

    name, settings = "segmentation", ("segmenter", "kinematics")

    def __init__(
        self, config: PrepareConfig, instructions: Instructions, annotate: Annotate | None = None
    ) -> None:
        super().__init__(config)
        self.annotate = annotate or annotator(config, instructions)

    def parameters(self) -> dict[str, Any]:
        # A later stage may word the captions anew, and then says so under the same name.
        files = {"annotations": self.config.annotations, "instructions": self.config.instructions}
        about = {name: None if file is None else file.name for name, file in files.items()}
        about |= {"captioner": "kinematic", "object": self.config.object, "target": self.config.target}
        return super().parameters() | about

    def run(self, prepared: Preparation) -> dict[str, Any]:
        source, least, threshold = prepared.source, prepared.least, self.config.prune_quasi_static
        spans, refused = read_annotations(source, self.config.annotations)
        prepared.warnings += source.notes
        prepared.warnings += [f"annotation not used: {line}" for line in refused]
        prepared.annotations = AnnotationMerger(spans, least)
        motion = Motion(self.config.kinematics)
        found: list[list[Event]] = []
        for position in prepared.progress(range(len(source)), "episodes", "prepare"):
            episode = source.read(position, least)
            found.append(prepared.annotations(self.annotate(episode)))
            prepared.lengths[episode.index] = len(episode)
            for key, values in ((STATE, episode.state), (ACTION, episode.action)):
                low, high = values.min(axis=0), values.max(axis=0)
                prepared.low[key] = np.minimum(prepared.low.get(key, low), low)
                prepared.high[key] = np.maximum(prepared.high.get(key, high), high)
            if threshold:
                motion.add(episode)
        prepared.pruner = QuasiStaticPruner(motion, threshold, least) if threshold else None
        prepared.events = number_events(found)
        return {}


class CaptionStage(Stage):
    """A vision-language model words the events anew; writes `captions.parquet`."""

    name = "captioning"

    def __init__(self, config: PrepareConfig, source: Path, out: Path) -> None:
        super().__init__(config)
        out = Path(os.path.abspath(out))
        cache = config.vlm.cache or out.with_name(f"{out.name}.vlm_answers.sqlite")
        for folder, flag in ((out, "--out.root"), (source, "--dataset.root")):
            if cache.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"--vlm.cache={cache} lies inside {flag}. Fix: keep the answers elsewhere")
        self.captioner = VlmCaptioner(config.vlm, cache, config.kinematics)

    def parameters(self) -> dict[str, Any]:
        return {"captioner": f"vlm {self.config.vlm.model}"}

    def run(self, prepared: Preparation) -> dict[str, Any]:
        with prepared.progress(None, "requests", "caption") as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done)

            captioned = self.captioner(prepared.source, prepared.events, progress)
        write_rows(captioned.records, CAPTIONS, prepared.folder / "captions.parquet")
        prepared.events = captioned.events
        return captioned.report


class CorrectStage(Stage):
    """Captions and boundaries that a person set win over all others; writes the event table, `events.parquet`."""

    name = "human"

    def __init__(self, config: PrepareConfig, source: SourceDataset) -> None:
        super().__init__(config)
        self.layer = HumanLayer(config.human or [], source)

    def run(self, prepared: Preparation) -> dict[str, Any]:
        prepared.events = self.layer(prepared.annotations.keep_captions(prepared.events))
        validate_events(prepared.events, prepared.lengths)
        write_events(prepared.events, prepared.folder / "events.parquet")
        return self.layer.counts() if self.layer.files else {}


class BalanceStage(Stage):
    """Clusters the events, and copies rare ones; writes `clusters.parquet`."""

    name, settings = "balance", ("cluster", "balancer")

    def __init__(self, config: PrepareConfig) -> None:
        super().__init__(config)
        self.embedder = EventEmbedder(config.cluster.encoder, config.cluster.device)

    def run(self, prepared: Preparation) -> dict[str, Any]:
        own = [event for event in prepared.events if event.level == self.config.level]
        what = self.embedder, prepared.source, own, prepared.split()[0], prepared.folder
        how = self.config.cluster, self.config.balancer
        with prepared.progress(None, "events", "embed") as bar:
            prepared.balance = balance_events(
                *what, *how, pruner=prepared.pruner, seed=self.config.seed, progress=bar.update
            )
        prepared.copies = prepared.balance.copies
        return prepared.balance.figures()


class RecoveryStage(Stage):
    """Copies retries, re-grasps and corrections; writes `recoveries.parquet`."""

    name, settings = "recovery", ("recovery",)

    def run(self, prepared: Preparation) -> dict[str, Any]:
        config, train = self.config, prepared.split()[0]
        what = config.recovery, config.kinematics, prepared.source, prepared.events, config.level, train
        prepared.copies, figures = recovery_copies(*what, prepared.folder, prepared.copies)
        return figures


class CarveStage(Stage):
    """Writes the views `train` and `heldout`."""

    name, settings = "views", ("heldout", "seed", "prune_quasi_static")

    def run(self, prepared: Preparation) -> dict[str, Any]:
        config, balance, views = self.config, prepared.balance, {}
        carver = EventCarver(
            config.level, prepared.pruner, language=config.language, copy_videos=config.copy_videos
        )
        for split, episodes in zip(("train", "heldout"), prepared.split(), strict=True):
            if not episodes:
                if config.heldout:
                    why = "there is no heldout/: one episode is left, and training needs it; record another for `wallwm check`"
                    prepared.warnings.append(why)
                continue
            about = {"split": split, "command": command_of(config), "parameters": prepared.parameters}
            if (what := prepared.source.embodiment) is not None:
                about[KEY] = what.to_json()
            copies = prepared.copies if split == "train" else None
            with prepared.progress(None, "events", f"carve {split}") as bar:
                how: dict[str, Any] = {
                    "episodes": episodes,
                    "copies": copies,
                    "sidecar": about,
                    "progress": bar.update,
                    "facts": None if balance is None else balance.facts(),
                }
                result = carver.carve(prepared.source, prepared.events, prepared.folder / split, **how)
            if balance is not None:
                balance.write_weights(prepared.folder / split, balanced=split == "train")
            views[split] = vars(result) | {"episodes": len(episodes)}
            del views[split]["root"]
        return views


def stages_of(
    config: PrepareConfig, source: SourceDataset, out: Path, annotate: Annotate | None = None
) -> list[Stage]:
    """The stages that the flags ask for, in order; a wrong flag or file of corrections is refused here."""
    if config.captioner not in CAPTIONERS:
        raise ValueError(f"--captioner must be one of {', '.join(CAPTIONERS)}, got {config.captioner!r}")
    stages: list[Stage | None] = [
        CleanStage(config),
        SynchronizeStage(config) if config.synchronize else None,
        SegmentStage(config, source.instructions, annotate),
        CaptionStage(config, source.root, out) if config.captioner == "vlm" else None,
        CorrectStage(config, source),
        BalanceStage(config) if config.balance else None,
        RecoveryStage(config) if config.recovery.share else None,
        CarveStage(config),
    ]
    return [stage for stage in stages if stage is not None]


def command_of(config: PrepareConfig) -> str:
    """The command for the card, without where things lie, how work was shared out, and the model's server and keys."""
    same = replace(config, out=OutputConfig(), scale=ScaleConfig(), quiet=False, overwrite=False)
    same.vlm = VlmConfig(model=config.vlm.model)
    return command_line(same, PrepareConfig())
