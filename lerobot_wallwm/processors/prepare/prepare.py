# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm prepare`: a LeRobotDataset in, its events and their train and held-out views out.

The stages in order: clean, synchronise, cut, caption, human corrections, balance, recoveries, carve.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from lerobot_wallwm.language.config import VlmConfig
from lerobot_wallwm.processors.balance.embedder import EventEmbedder
from lerobot_wallwm.processors.balance.stage import balance_events
from lerobot_wallwm.processors.caption.captioner import EventCaptioner, number_events
from lerobot_wallwm.processors.caption.stage import CaptionStage
from lerobot_wallwm.processors.clean.dataset import clean_for_prepare, parameters as clean_parameters
from lerobot_wallwm.processors.motion.quasi_static import Motion, QuasiStaticPruner
from lerobot_wallwm.processors.prepare.config import PrepareConfig
from lerobot_wallwm.processors.prepare.scale_config import ScaleConfig
from lerobot_wallwm.processors.prepare.summary import Spread, summarise
from lerobot_wallwm.processors.recover.sampler import recovery_copies
from lerobot_wallwm.processors.segment.annotations import AnnotationMerger, read_annotations
from lerobot_wallwm.processors.segment.human_layer import HumanLayer
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import Episode, SourceDataset
from lerobot_wallwm.processors.source.events import Event, validate_events, write_events
from lerobot_wallwm.processors.source.split import split_episodes
from lerobot_wallwm.processors.synchronize.dataset import synchronize_for_prepare
from lerobot_wallwm.processors.view.card import command_line
from lerobot_wallwm.processors.view.carver import EventCarver
from lerobot_wallwm.processors.view.disk_space import check_space, estimate_space
from lerobot_wallwm.storage.atomic import atomic_folder
from lerobot_wallwm.storage.disk import full_disk_explained
from lerobot_wallwm.storage.places import OutputConfig, output_root, source_root
from lerobot_wallwm.storage.work_folder import work_folder


def annotator(config: PrepareConfig) -> Callable[[Episode], list[Event]]:
    """The steps that look at one episode at a time: from an `Episode` to its events, ids counted from 0."""
    segmenter = EventSegmenter(config.segmenter, config.kinematics)
    captioner = EventCaptioner(config.kinematics)
    return lambda episode: captioner(episode, segmenter(episode))


def prepare(
    config: PrepareConfig, annotate: Callable[[Episode], list[Event]] | None = None
) -> dict[str, Any]:
    """Makes event views of a dataset. Returns the summary that is also written to `summary.json`.

    Args:
        config: See `PrepareConfig`.
        annotate: Replaces `annotator(config)`, for events that were found elsewhere.

    Raises:
        DataError: The source cannot be used, or there is no room for the output; nothing has been written.
        FileExistsError: The output exists and `overwrite` is off.
        ValueError: A parameter is out of range.
    """
    started = time.perf_counter()
    config.check()
    out = output_root(config.out)
    root = source_root(config.dataset)
    if out.resolve().is_relative_to(root.resolve()) or root.resolve().is_relative_to(out.resolve()):
        raise ValueError(f"--out.root={out} and --dataset.root={root} overlap. Fix: write outside the source")
    caption_stage = CaptionStage(config.captioner, config.vlm, config.kinematics, out, root)
    annotate = annotate or annotator(config)
    reports: dict[str, Any] = {}
    with (
        full_disk_explained(out),
        atomic_folder(out, overwrite=config.overwrite) as partial,
        work_folder(out, root) as work,
    ):
        source = SourceDataset.open(root)
        human = HumanLayer(config.human or [], source)
        embedder = None
        if config.balance:
            embedder = EventEmbedder(config.cluster.encoder, config.kinematics, config.cluster.device)
        least = EventSegmenter(config.segmenter, config.kinematics).min_frames(source.fps)
        splits = split_episodes(source.episode_indices, config.heldout, config.seed)
        check_space(estimate_space(source, partial, splits, config.copy_videos), out)
        journal = work.journal("clean", clean_parameters(config.clean, config.kinematics, least))
        with _progress(range(len(source)), "episodes", config.quiet, "clean") as bar:
            source, reports["cleaning"] = clean_for_prepare(
                source, partial, config.clean, config.kinematics, least, journal, bar.update
            )
        if config.synchronize:
            bar = _progress(None, "episodes", config.quiet, "synchronize", len(source))
            source, reports["synchronization"] = synchronize_for_prepare(
                source, partial, config.synchronizer, config.kinematics, bar
            )
        spans, refused = read_annotations(source, config.annotations)
        merger = AnnotationMerger(spans, least)
        per_episode: list[list[Event]] = []
        lengths: dict[int, int] = {}
        spread, motion = Spread(), Motion(config.kinematics)
        for position in _progress(range(len(source)), "episodes", config.quiet):
            episode = source.read(position, least)
            per_episode.append(merger(annotate(episode)))
            lengths[episode.index] = len(episode)
            spread.add(episode)
            if config.prune_quasi_static:
                motion.add(episode)
        captioned = caption_stage(source, number_events(per_episode), partial, config.quiet)
        events = human(merger.keep_captions(captioned))
        validate_events(events, lengths)
        write_events(events, partial / "events.parquet")

        train, heldout = split_episodes(source.episode_indices, config.heldout, config.seed)
        pruner = None
        if config.prune_quasi_static:
            pruner = QuasiStaticPruner(motion, config.prune_quasi_static, least)
        balance = None
        if embedder is not None:
            with _progress(None, "events", config.quiet, "embed") as bar:
                balance = balance_events(
                    embedder,
                    source,
                    [event for event in events if event.level == config.level],
                    train,
                    partial,
                    config.cluster,
                    config.balancer,
                    pruner=pruner,
                    seed=config.seed,
                    progress=bar.update,
                )
            reports["balance"] = balance.figures()
        copies, recovery = recovery_copies(
            config.recovery,
            config.kinematics,
            source,
            events,
            config.level,
            train,
            partial,
            None if balance is None else balance.copies,
        )
        carver = EventCarver(config.level, pruner, language=config.language, copy_videos=config.copy_videos)
        parameters = _parameters(config)
        views = {}
        for split, episodes in (("train", train), ("heldout", heldout)):
            if not episodes:
                continue
            sidecar = {"split": split, "command": _command(config), "parameters": parameters}
            with _progress(None, "events", config.quiet, f"carve {split}") as bar:
                result = carver(
                    source,
                    events,
                    partial / split,
                    episodes=episodes,
                    copies=copies if split == "train" else None,
                    sidecar=sidecar,
                    progress=bar.update,
                )
            if balance is not None:
                balance.mark(partial / split, balanced=split == "train")
            views[split] = {
                "episodes": len(episodes),
                "events": result.events,
                "frames": result.frames,
                "frames_pruned": result.pruned,
                "captions": result.captions,
                "videos_linked": result.linked,
                "videos_copied": result.copied,
            }
        if caption_stage.report is not None:
            reports["captioning"] = caption_stage.report
        if human.files:
            reports["human"] = human.counts()
        if recovery:
            reports["recovery"] = recovery
        seconds = time.perf_counter() - started
        summary = summarise(config, source, events, lengths, views, spread, seconds) | reports
        summary["annotated_episodes"] = len(spans)
        summary["warnings"] += [f"annotation not used: {line}" for line in refused]
        (partial / "summary.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return summary


def _parameters(config: PrepareConfig) -> dict[str, Any]:
    """What the views' sidecars say of how they were made."""
    parameters: dict[str, Any] = {
        "heldout": config.heldout,
        "seed": config.seed,
        "prune_quasi_static": config.prune_quasi_static,
        "captioner": config.captioner if config.captioner != "vlm" else f"vlm {config.vlm.model}",
        "annotations": None if config.annotations is None else config.annotations.name,
    }
    names = ["segmenter", "kinematics", "clean"]
    names += ["recovery"] if config.recovery.share else []
    names += ["synchronizer"] if config.synchronize else []
    names += ["cluster", "balancer"] if config.balance else []
    return parameters | {name: dataclasses.asdict(getattr(config, name)) for name in names}


def _command(config: PrepareConfig) -> str:
    """The command for the card, without where things lie, how work was shared out, and the model's server and keys."""
    same = dataclasses.replace(config, out=OutputConfig(), scale=ScaleConfig(), quiet=False, overwrite=False)
    same.vlm = VlmConfig(model=config.vlm.model)
    return command_line(same, PrepareConfig())


def _progress(items: Any, unit: str, quiet: bool, name: str = "prepare", total: int | None = None) -> Any:
    from tqdm import tqdm

    return tqdm(items, unit=f" {unit}", desc=name, total=total, file=sys.stderr, disable=quiet)
