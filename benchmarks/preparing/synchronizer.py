# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Does the synchronizer find lags that were planted? Fails below 95 % exact, or with a wrong confident episode.

Every episode gets every lag from -5 to +5 frames, planted by cutting rows off one end and frames off the other:

* video: pictures against state and action, as a slow camera makes it. Right is the planted lag for both.
* action: actions against pictures and state, as a slip in logging makes it. Right is 0 for the state and the planted
  lag for the action. The robot's control delay is the median over the tuning episodes.

and three controls, in which confidence is always wrong: the video of another episode (of the same scripted task, so
that chance resemblance is at its greatest; `--partners` others for each), a frame dropped at 30, 50 or 70 % in all
cameras, and one camera of two off by one frame. A confident control fails the run.

Parameters were chosen on the even SO-101 episodes and the human episode 0; scored are the odd ones and the human
episodes 1 and 2 (also in parts of 200 frames, for two long episodes are few), which had been seen. `--fresh=SEED` gives
a clean figure: it records new demonstrations in the simulator from this seed on (a minute for about ten; kept in --out)
and scores those instead of the odd ones. The test of a constant lag was made on the even episodes and `--fresh=500000`
and scored once on `--fresh=910000` and `--fresh=950000` with `--episodes=24 --partners=23`: of 1056 planted lags 871
confident and none wrong (without the test 1006 and none), of 1104 videos of another episode 0 confident (31), of 144
dropped frames 0 (31). `--human` is a LeRobot dataset of a human's demonstrations; without one only SO-101 is scored.
"""

from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.harness.repo import DATASET
from benchmarks.harness.rows import Row, Share, bar
from lerobot_wallwm.processors.source.episodes import Episode, SourceDataset
from lerobot_wallwm.processors.synchronize.dataset import camera_motion, control_delay
from lerobot_wallwm.processors.synchronize.synchronizer import TemporalSynchronizer

LAGS = range(-5, 6)
PART, NEEDED = 200, 0.95
DROPS = (0.3, 0.5, 0.7)
QUICK = {"most": 6, "partners": 2}
Recording = tuple[Episode, dict[str, np.ndarray]]


def load(root: Path, most: int | None) -> list[Recording]:
    """Episodes and the motion of their cameras."""
    source = SourceDataset.open(root)
    return [(source.read(p), camera_motion(source, p)) for p in range(min(most or len(source), len(source)))]


def parts(recordings: list[Recording], frames: int) -> list[Recording]:
    """Cuts recordings into parts without overlap."""
    return [
        cut(recording, start, start + frames, start, start + frames)
        for recording in recordings
        for start in range(0, len(recording[0]) - frames + 1, frames)
    ]


def cut(recording: Recording, first: int, end: int, video_first: int, video_end: int) -> Recording:
    """Rows `first` to `end` beside frames `video_first` to `video_end`."""
    episode, motion = recording
    return (
        replace(episode, state=episode.state[first:end], action=episode.action[first:end]),
        {camera: values[video_first:video_end] for camera, values in motion.items()},
    )


def plant_video(recording: Recording, lag: int) -> Recording:
    """Row t holds the state and action of t, and the picture of t - lag."""
    length = len(recording[0])
    first, end = max(0, lag), length + min(0, lag)
    return cut(recording, first, end, first - lag, end - lag)


def plant_action(recording: Recording, lag: int) -> Recording:
    """Row t holds the state and picture of t, and the action of t + lag."""
    length = len(recording[0])
    first, end = max(0, -lag), length - max(0, lag)
    episode, motion = cut(recording, first, end, first, end)
    return replace(episode, action=recording[0].action[first + lag : end + lag]), motion


def score(name: str, recordings: list[Recording], delay: float | None, counts: Counter[str]) -> Iterator[Row]:
    """A row for each way of planting."""
    plain, informed = TemporalSynchronizer(), TemporalSynchronizer(control_delay=delay)
    for way, plant in (("video", plant_video), ("action", plant_action)):
        exact = told = 0
        reasons: Counter[str] = Counter()
        for lag in LAGS:
            for recording in recordings:
                verdict = (plain if way == "video" else informed)(*plant(recording, lag))
                if verdict.quarantined:
                    reasons[verdict.reason.split(":")[0]] += 1
                else:
                    told += 1
                    right = (lag, lag) if way == "video" else (0, lag)
                    exact += (verdict.lag, verdict.action_lag) == right
        total = len(LAGS) * len(recordings)
        counts.update({"told": told, "exact": exact})
        cells = {"episodes": name, "planted": way, "confident": Share(told, total)}
        cells["exact"] = Share(exact, told)
        quarantined = ", ".join(f"{reason} {often}" for reason, often in reasons.items())
        yield Row("planted lags", {**cells, "wrong": told - exact, "quarantined": quarantined})


def controls(name: str, recordings: list[Recording], partners: int, counts: Counter[str]) -> Iterator[Row]:
    """How often the synchronizer is confident where it must not be."""
    synchronizer = TemporalSynchronizer()
    wrong: dict[str, list[bool]] = {
        "another episode's video": [],
        **{f"a frame dropped at {at:.0%}": [] for at in DROPS},
        "one camera off by one": [],
    }
    for i, (episode, motion) in enumerate(recordings):
        for step in range(1, min(partners, len(recordings) - 1) + 1):
            _, other = recordings[(i + step) % len(recordings)]
            length = min(len(episode), len(next(iter(other.values()))))
            swapped, _ = cut((episode, motion), 0, length, 0, length)
            own = {camera: values[:length] for camera, values in other.items()}
            wrong["another episode's video"].append(not synchronizer(swapped, own).quarantined)
        shorter, _ = cut((episode, motion), 0, len(episode) - 1, 0, 0)
        for at in DROPS:
            frame = int(at * len(episode))
            jumped = {camera: np.delete(values, frame, axis=0) for camera, values in motion.items()}
            wrong[f"a frame dropped at {at:.0%}"].append(not synchronizer(shorter, jumped).quarantined)
        first, *others = motion
        late = {first: motion[first][:-1]} | {camera: motion[camera][1:] for camera in others}
        wrong["one camera off by one"].append(not synchronizer(shorter, late).quarantined)
    for what, confident in wrong.items():
        counts["trusted"] += sum(confident)
        share = Share(sum(confident), len(confident))
        yield Row("controls", {"episodes": name, "control": what, "confident": share})


def fresh(seed: int, episodes: int, out: Path) -> Path:
    """Demonstrations recorded from a seed on, with both cameras, as the committed ones were; recorded once."""
    from lerobot_env_so101_sim.record import record

    root = out / f"fresh-{seed}-{episodes}"
    if not root.exists():
        record(root, episodes, seed)
    return root


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--so101", type=Path, default=DATASET)
    parser.add_argument("--human", type=Path, help="LeRobot dataset of three or more human demonstrations")
    parser.add_argument("--most", type=int, help="episodes of each dataset that are read")
    parser.add_argument("--fresh", type=int, metavar="SEED", help="score those recorded from this seed on")
    parser.add_argument("--episodes", type=int, default=40, help="how many of them")
    parser.add_argument("--partners", type=int, default=10, help="others whose videos each episode gets")


def rows(args: Namespace) -> Iterator[Row]:
    loaded = {"SO-101": load(args.so101, args.most)}
    tuning, scored = {"SO-101": loaded["SO-101"][::2]}, {"SO-101, odd episodes": loaded["SO-101"][1::2]}
    if args.human:
        human = load(args.human, args.most)
        tuning["human"] = parts(human[:1], PART // 2)
        scored |= {"human, episodes 1 and 2": human[1:], f"human, in parts of {PART}": parts(human[1:], PART)}
    if args.fresh is not None:
        del scored["SO-101, odd episodes"]
        place = fresh(args.fresh, args.episodes, args.out)
        scored[f"SO-101, fresh from {args.fresh}"] = load(place, args.most)
    delays = {}
    for name, recordings in tuning.items():
        delays[name] = control_delay([TemporalSynchronizer()(*r) for r in recordings])[0]
        yield Row("control delay on tuning episodes", {"robot": name, "frames": delays[name]})
    counts: Counter[str] = Counter()
    for name, recordings in scored.items():
        yield from score(name, recordings, delays[name.split(",")[0]], counts)
    for name, recordings in scored.items():
        yield from controls(name, recordings, args.partners, counts)
    yield bar("exact, of confident cases", counts["exact"] / max(counts["told"], 1), NEEDED)
    yield bar("wrong confident cases", counts["told"] - counts["exact"], most=0)
    yield bar("confident controls", counts["trusted"], most=0)
