# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Gathers what the report shows from the files that the stages left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.check.measure.observations import Observations
from lerobot_wallwm.check.measure.video import Clips

from .report_inputs import ActionExample, EpisodeView, Rollout

EPISODES_SHOWN = 3
EXAMPLES_SHOWN = 3
CLIPS_SHOWN = 6


def choose_episodes(events: list[dict[str, Any]], count: int = EPISODES_SHOWN) -> list[int]:
    """Episodes worth a look: the first one, then those with the most actions (a second grasp, say).

    Args:
        events: Rows of the event table.
        count: How many.
    """
    actions: dict[int, int] = {}
    for event in events:
        if event["level"] == "action":
            actions[event["episode_index"]] = actions.get(event["episode_index"], 0) + 1
    first = min(actions)
    others = sorted((e for e in actions if e != first), key=lambda e: (-actions[e], e))
    return [first, *others[: count - 1]]


def load_episode_views(source_root: str | Path, events_file: str | Path) -> list[EpisodeView]:
    """Demonstrations with their events and keyframes.

    Args:
        source_root: The uncarved dataset.
        events_file: ``events.parquet`` of `wallwm prepare`.
    """
    import pyarrow.parquet as pq
    from lerobot.datasets import LeRobotDataset

    from lerobot_wallwm.processors.source.episodes import SourceDataset

    events = pq.read_table(events_file).to_pylist()
    source = SourceDataset.open(source_root)
    dataset = LeRobotDataset(f"local/{Path(source_root).name}", root=source_root)
    views = []
    for index in choose_episodes(events):
        episode = source.read(source.episode_indices.index(index))
        own = [event for event in events if event["episode_index"] == index]
        start = dataset.meta.episodes["dataset_from_index"][index]
        view = EpisodeView(
            index, episode.task, episode.state, _short(episode.state_names), own, np.empty(0), episode.fps
        )
        keyframes = []
        for event in view.level("action"):
            item = dataset[int(start) + event["start"]]
            cameras = [item[key].permute(1, 2, 0).numpy() for key in dataset.meta.camera_keys]
            keyframes.append(np.concatenate(cameras, axis=1))
        view.keyframes = (np.stack(keyframes) * 255).round().astype(np.uint8)
        views.append(view)
    return views


def _short(names: tuple[str, ...]) -> list[str]:
    return [name.removesuffix(".pos").replace("_", " ") for name in names]


def choose_examples(
    observations: Observations, predicted: np.ndarray, count: int = EXAMPLES_SHOWN
) -> list[ActionExample]:
    """Keyframes of different kinds of events, the longest of each kind first.

    Args:
        observations: Held out.
        predicted: ``(N, H, D)``.
        count: How many.
    """
    order = sorted(
        (i for i, anchor in enumerate(observations.anchors) if anchor.offset == 0),
        key=lambda i: -observations.valid[i].sum(),
    )
    chosen, verbs = [], set()
    for i in order:
        verb = observations.captions[i].split()[0]
        if verb not in verbs:
            verbs.add(verb)
            chosen.append(i)
    examples = []
    for i in chosen[:count]:
        steps = observations.valid[i]
        examples.append(
            ActionExample(
                observations.captions[i],
                observations.true[i][steps],
                predicted[i][steps],
                observations.state[i],
            )
        )
    return examples


def choose_clips(clips: Clips, count: int = CLIPS_SHOWN) -> Clips:
    """The clips of different kinds of events in which most happens, with the metrics of all."""
    motion = np.abs(clips.real.astype(np.int16) - clips.real[:, :, :1]).mean(axis=(1, 3, 4, 5))
    moved = (motion * clips.valid).max(axis=1)
    chosen, verbs = [], set()
    for i in np.argsort(-moved):
        verb = clips.captions[i].split()[0]
        if verb not in verbs:
            verbs.add(verb)
            chosen.append(int(i))
    return clips.part(chosen[:count])


def save_open_loop(path: Path, figures: dict[str, Any], examples: list[ActionExample], clips: Clips) -> None:
    """Keeps the evaluation for the report: ``<path>.json`` and ``<path>.npz``."""
    arrays = {"imagined": clips.imagined, "real": clips.real, "valid": clips.valid}
    for i, example in enumerate(examples):
        arrays |= {f"true{i}": example.true, f"predicted{i}": example.predicted, f"state{i}": example.state}
    np.savez_compressed(path.with_suffix(".npz"), **arrays)
    content = {
        "figures": figures,
        "video": clips.metrics,
        "clip_captions": clips.captions,
        "clip_seconds": clips.seconds,
        "example_captions": [example.caption for example in examples],
    }
    path.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load_open_loop(path: Path) -> tuple[dict[str, Any], list[ActionExample], Clips]:
    """The inverse of `save_open_loop`."""
    content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
        examples = [
            ActionExample(caption, arrays[f"true{i}"], arrays[f"predicted{i}"], arrays[f"state{i}"])
            for i, caption in enumerate(content["example_captions"])
        ]
        clips = Clips(
            arrays["imagined"],
            arrays["real"],
            arrays["valid"],
            content["clip_captions"],
            content["clip_seconds"],
            content["video"],
        )
    return content["figures"], examples, clips


def read_progress_log(path: str | Path) -> list[dict[str, Any]]:
    """Episodes of a progress log, in the order of their seeds.

    Raises:
        ValueError: The file is missing, or a line is not what the simulator writes.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: file is missing. Fix: run lerobot-eval with --env.progress_log={path}")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            rows.append(row | {"task_progress": float(row["task_progress"]), "success": bool(row["success"])})
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}, line {number}: not an episode ({error!r}). Fix: remove the file and rerun"
            ) from error
    return sorted(rows, key=lambda row: row["seed"])


def load_rollouts(folder: Path, log: Path) -> list[Rollout]:
    """Simulated episodes with their videos.

    Args:
        folder: ``--output_dir`` of lerobot-eval, run with one environment.
        log: ``--env.progress_log``.
    """
    rollouts = []
    for number, row in enumerate(read_progress_log(log)):
        videos = sorted(folder.glob(f"videos/*/eval_episode_{number}.mp4"))
        imagined = sorted(folder.glob(f"videos/*/pred_episode_{number}.mp4"))
        rollouts.append(Rollout(next(iter(videos), None), next(iter(imagined), None), row))
    return rollouts
