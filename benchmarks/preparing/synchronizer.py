# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Does the synchronizer find lags that were planted, and keep what is good?

Fails below 95 % of good episodes kept, or with an episode kept at a wrong lag.

Rigs: the committed demonstrations whole (106), 20 of them, cut into 150 episodes of 30 to 53 frames, and 20 of those; with
`--human` also a LeRobot dataset of a human's demonstrations, and with `--simulators` 40 short episodes each of four robo-evals
tasks that are rendered here (20 Hz; needs `pip install "lerobot_policy_wallwm[bench]"` and a GL library).

* the rig's lag: all cameras run behind the rows by each lag from -5 to +5 frames; all episodes are good.
* one camera's lag: the last camera alone does.
* an episode's own lag: one episode in five has another lag than the rig, which it contradicts; kept is wrong.
* controls, one episode in five again: the video of another episode (of the same scripted task, so that chance resemblance
  is at its greatest), a frame dropped at 30, 50 or 70 %, one camera of two off by one frame, and actions logged three rows late.
  What is kept of those is listed and not counted as wrong: it has the rig's lag, and little moved after the damage.

Parameters were chosen on these rigs but for the human one.
"""

from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.repo import DATASET
from benchmarks.harness.rows import Row, Share, bar
from benchmarks.segmentation.tasks import record_robo_evals
from lerobot_wallwm.processors.source.episodes import Episode, SourceDataset
from lerobot_wallwm.processors.synchronize.dataset import SHORT_SIDE, camera_motion
from lerobot_wallwm.processors.synchronize.signals import image_motion
from lerobot_wallwm.processors.synchronize.synchronizer import TemporalSynchronizer

LAGS = (-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5)
SHORT, NEEDED = (30, 54), 0.95
QUICK = {"lags": [0, 3], "most": 20}
Recording = tuple[Episode, dict[str, np.ndarray]]
Damage = Callable[[Recording, Recording], Recording]


def load(root: Path, most: int | None) -> list[Recording]:
    """Episodes and the motion of their cameras."""
    source = SourceDataset.open(root)
    return [(source.read(p), camera_motion(source, p)) for p in range(min(most or len(source), len(source)))]


def shorts(recordings: list[Recording], most: int) -> list[Recording]:
    """Cuts recordings into episodes of `SHORT` frames, without overlap."""
    rng, parts = np.random.default_rng(0), []
    for recording in recordings:
        start, length = 0, int(rng.integers(*SHORT))
        while start + length <= len(recording[0]):
            parts.append(cut(recording, start, start + length, start, start + length))
            start, length = start + length, int(rng.integers(*SHORT))
    return parts[:most]


def cut(recording: Recording, first: int, end: int, video_first: int, video_end: int) -> Recording:
    """Rows `first` to `end` beside frames `video_first` to `video_end`."""
    episode, motion = recording
    rows = replace(episode, state=episode.state[first:end], action=episode.action[first:end])
    return rows, {camera: values[video_first:video_end] for camera, values in motion.items()}


def plant(recording: Recording, lag: int, cameras: list[str] | None = None) -> Recording:
    """Row t holds the state and action of t, and of these cameras (all) the picture of t - lag."""
    length = len(recording[0])
    first, end = max(0, lag), length + min(0, lag)
    rows, late = cut(recording, first, end, first - lag, end - lag)
    _, same = cut(recording, first, end, first, end)
    return rows, {camera: (late if cameras is None or camera in cameras else same)[camera] for camera in late}


def another_video(recording: Recording, other: Recording) -> Recording:
    length = min(len(recording[0]), len(other[0]))
    return cut(recording, 0, length, 0, length)[0], cut(other, 0, length, 0, length)[1]


def dropped(at: float) -> Damage:
    def damage(recording: Recording, _: Recording) -> Recording:
        frame, length = int(at * len(recording[0])), len(recording[0])
        rows = cut(recording, 0, length - 1, 0, 0)[0]
        return rows, {camera: np.delete(values, frame, axis=0) for camera, values in recording[1].items()}

    return damage


def one_off(recording: Recording, _: Recording) -> Recording:
    first, *others = recording[1]
    rows = cut(recording, 0, len(recording[0]) - 1, 0, 0)[0]
    return rows, {first: recording[1][first][:-1]} | {camera: recording[1][camera][1:] for camera in others}


def late_action(recording: Recording, _: Recording) -> Recording:
    rows, motion = cut(recording, 3, len(recording[0]), 3, len(recording[0]))
    return replace(rows, action=recording[0].action[:-3]), motion


CONTROLS: dict[str, Damage] = {"another episode's video": another_video, "one camera off by one": one_off}
CONTROLS |= {f"a frame dropped at {at:.0%}": dropped(at) for at in (0.3, 0.5, 0.7)}
CONTROLS |= {"actions three rows late": late_action}


def rendered(task: str) -> list[Recording]:
    """Short episodes of a robo-evals task, seen by all its cameras."""
    import cv2
    import mujoco

    frames: dict[int, dict[str, list[np.ndarray]]] = {}
    renderers: list[mujoco.Renderer] = []

    def watch(env: Any, seed: int) -> None:
        if not renderers:
            env.model.vis.quality.shadowsize = env.model.vis.quality.offsamples = 0
            renderers.append(mujoco.Renderer(env.model, SHORT_SIDE, SHORT_SIDE))
        for camera in (env.model.camera(i).name for i in range(env.model.ncam)):
            renderers[0].update_scene(env.data, camera=camera)
            gray = cv2.cvtColor(renderers[0].render(), cv2.COLOR_RGB2GRAY)
            frames.setdefault(seed, {}).setdefault(camera, []).append(gray)

    episodes = record_robo_evals(task, range(5000, 5040), watch)
    renderers[0].close()
    return [
        (e, {camera: image_motion(seen) for camera, seen in frames[e.index].items()}) for e, _ in episodes
    ]


def rigs(args: Namespace) -> Iterator[tuple[str, list[Recording]]]:
    whole = load(DATASET, args.most)
    short = shorts(whole, 150)
    yield from (("SO-101", whole), ("SO-101, 20 episodes", whole[::5][:20]))
    yield from (("SO-101, 30 to 53 frames", short), ("the same, 20 episodes", short[::7][:20]))
    if args.human:
        yield "human", load(args.human, None)
    for task in ("stack", "pick_place", "push", "drawer") if args.simulators else ():
        yield f"robo-evals {task}", rendered(task)


def kept(recordings: list[Recording]) -> tuple[dict[str, int], list[bool]]:
    """Lags of the cameras, and which episodes are kept."""
    found = TemporalSynchronizer()(recordings)
    lags = {name: camera.lag for name, camera in found.cameras.items()}
    return lags, [not verdict.quarantined for verdict in found.verdicts]


def planted(name: str, recordings: list[Recording], lags: list[int], counts: Counter[str]) -> Iterator[Row]:
    """Lags of all cameras, and of the last one alone: a row each."""
    for what, cameras in (("the rig", None), ("one camera", [list(recordings[0][1])[-1]])):
        good, wrong = 0, 0
        for lag in lags:
            found, own = kept([plant(recording, lag, cameras) for recording in recordings])
            right = {c: lag if cameras is None or c in cameras else 0 for c in found}
            good, wrong = good + sum(own), wrong + (0 if found == right else sum(own))
        total = len(lags) * len(recordings)
        counts.update({"good": total, "kept": good, "wrong": wrong})
        yield Row(
            "planted lags", {"rig": name, "of": what, "good kept": Share(good, total), "kept wrong": wrong}
        )


def damaged(name: str, recordings: list[Recording], counts: Counter[str]) -> Iterator[Row]:
    """One episode in five is damaged: a row for each damage."""
    rng = np.random.default_rng(1)
    shifts = [int(lag) for lag in rng.choice([lag for lag in LAGS if lag], len(recordings))]
    hit = set(range(2, len(recordings), 5))

    def altered(damage: Damage | None) -> list[Recording]:
        return [
            recording
            if i not in hit
            else plant(recording, shifts[i])
            if damage is None
            else damage(recording, recordings[(i + 1) % len(recordings)])
            for i, recording in enumerate(recordings)
        ]

    for what, damage in {"its own lag": None, **CONTROLS}.items():
        _, own = kept(altered(damage))
        bad = Share(sum(own[i] for i in hit), len(hit))
        good = Share(sum(own) - bad.hits, len(own) - len(hit))
        counts.update({"good": good.of, "kept": good.hits, "wrong": bad.hits if damage is None else 0})
        yield Row(
            "one episode in five", {"rig": name, "damage": what, "good kept": good, "damaged kept": bad}
        )


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--human", type=Path, help="LeRobot dataset of three or more human demonstrations")
    parser.add_argument("--most", type=int, help="episodes of the committed dataset that are read")
    parser.add_argument("--lags", type=int, nargs="+", default=list(LAGS))
    parser.add_argument(
        "--simulators", action="store_true", help="short episodes of robo-evals, rendered here"
    )


def rows(args: Namespace) -> Iterator[Row]:
    counts: Counter[str] = Counter()
    for name, recordings in rigs(args):
        yield from planted(name, recordings, args.lags, counts)
        if len(recordings) >= 10:
            yield from damaged(name, recordings, counts)
    yield bar("good episodes kept", counts["kept"] / max(counts["good"], 1), NEEDED)
    yield bar("kept at a wrong lag", counts["wrong"], most=0)
