# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Short trainings of one study: each a process of its own with one thread, none done twice.

    python -m benchmarks.learning.one_run JOB.json      # one of them, in this process

The loop is that of lerobot-train (same policy, processors, optimiser and scheduler presets, sampler without repeats),
without its start-up and video decoding, which would be most of the time of a run this short. Errors are mean absolute
errors of the actions on held-out events, in degrees (gripper 0 to 100): `near` over the next 8 steps inside the event,
`event` over its rest; `remaining` is that of the predicted time to the event's end, in seconds.
"""

import json
import os
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.harness.repo import DATASET, REPO
from benchmarks.harness.rows import CannotRunError, Mean, number

CLIPS = 48
# Of events whose end depends on pictures.
KINDS = ("reach", "approach", "move")
QUICK = {"steps": 2, "batch": 2, "seeds": [0], "jobs": 1, "observations": 6, "most": 8}


@dataclass
class Job:
    """One training and its score."""

    name: str
    seed: int
    steps: int
    batch: int
    view: str  # carved views
    heldout: str  # none: train only
    cache: str  # folder for decoded frames
    observations: int  # held-out ones, at most
    # Fields of the policy's configuration or training stage; `start` is a checkpoint, of which only `stage` is changed,
    # `altered` the "camera" or "words".
    changes: dict[str, Any] = field(default_factory=dict)
    # Source episode to what is said instead of the events' captions.
    told: dict[str, str] = field(default_factory=dict)
    # With which it acts; errors are those of the first.
    imaginations: list[str] = field(default_factory=lambda: ["none"])
    video: bool = False  # also score the imagined video
    sight: bool = False  # measure what it looks at instead


def study_flags(parser: ArgumentParser, steps: int = 400) -> None:
    """The flags that all studies share."""
    parser.add_argument("--dataset", type=Path, default=DATASET)
    parser.add_argument("--steps", type=int, default=steps, help="of training, for every run")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--observations", type=int, default=240, help="held-out ones, at most")
    parser.add_argument("--most", type=int, help="source episodes that are used, at most")
    parser.add_argument("--only", nargs="*", help="names of what is compared; all by default")


def prepared(args: Namespace) -> Path:
    """The folder of `wallwm prepare` on the dataset, a fifth of it held out; left alone if it exists."""
    from lerobot_wallwm.processors.prepare.config import PrepareConfig
    from lerobot_wallwm.processors.prepare.prepare import prepare
    from lerobot_wallwm.storage.places import DatasetConfig, OutputConfig

    folder = args.out / "events"
    if not folder.exists():
        places = DatasetConfig(root=args.dataset), OutputConfig(root=folder)
        prepare(PrepareConfig(*places, heldout=0.2, quiet=True))
    return folder


def recorded(folder: Path, episodes: int, seed: int, task: str = "PickPlace-v0", **settings: Any) -> Path:
    """Demonstrations recorded anew from that seed, and their view beside them; left alone if they exist."""
    from lerobot_env_so101_sim.record import record
    from lerobot_wallwm.processors.prepare.config import PrepareConfig
    from lerobot_wallwm.processors.prepare.prepare import prepare
    from lerobot_wallwm.storage.places import DatasetConfig, OutputConfig

    view = folder.with_name(f"{folder.name}_events")
    if not folder.exists():
        record(folder, episodes, seed, task=task)
    if not view.exists():
        places = DatasetConfig(root=folder), OutputConfig(root=view)
        prepare(PrepareConfig(*places, quiet=True, **settings))
    return view


def job(args: Namespace, name: str, seed: int, view: Path, heldout: Path, **more: Any) -> Job:
    """A job of a study's flags."""
    places = str(view), str(heldout), str(args.out / "frames")
    return Job(name, seed, args.steps, args.batch, *places, args.observations, **more)


def run_all(args: Namespace, jobs: Sequence[Job]) -> dict[str, dict[int, dict[str, Any]]]:
    """Makes the runs that are not done yet, `args.jobs` at a time; name to seed to what `run` found.

    Raises:
        CannotRunError: A run failed; the message names its log.
    """

    def one(job: Job) -> dict[str, Any]:
        stem = f"{job.name.replace(' ', '_')}-{job.seed}-{job.steps}x{job.batch}"
        result, order, log = (args.out / "runs" / f"{stem}.{end}" for end in ("json", "job.json", "log"))
        result.parent.mkdir(parents=True, exist_ok=True)
        if not result.exists():
            order.write_text(json.dumps(asdict(job)))
            argv = [sys.executable, "-m", "benchmarks.learning.one_run", str(order), str(result)]
            with log.open("wb") as sink:
                env = {**os.environ, "OMP_NUM_THREADS": "1"}
                done = subprocess.run(argv, cwd=REPO, stdout=sink, stderr=sink, env=env, check=False)
            if done.returncode:
                raise CannotRunError(f"{job.name}, seed {job.seed} failed. Fix: see {log}")
        return json.loads(result.read_text())

    found: dict[str, dict[int, dict[str, Any]]] = {}
    with ThreadPoolExecutor(args.jobs) as pool:
        # Seed by seed, so that an interrupted study still compares everything.
        for each, result in zip(jobs, pool.map(one, jobs), strict=True):
            found.setdefault(each.name, {})[each.seed] = result
    return found


def paired(values: Mapping[int, float], base: Mapping[int, float]) -> str:
    """Difference from the base, seed by seed: mean, and in how many seeds it has that sign."""
    differences = [values[seed] - base[seed] for seed in sorted(set(values) & set(base))]
    if not differences:
        return ""
    middle = float(np.mean(differences))
    agree = sum((d > 0) == (middle > 0) for d in differences)
    return f"{'+' if middle >= 0 else ''}{number(middle)} ({agree}/{len(differences)})"


def compared(runs: Mapping[int, dict], base: Mapping[int, dict], figures: Sequence[str]) -> dict[str, Any]:
    """Cells: mean and spread over the seeds of each figure, then the differences from the base."""
    values = {f: {seed: run["errors"][f] for seed, run in runs.items()} for f in figures}
    cells: dict[str, Any] = {f: Mean.of(by_seed.values()) for f, by_seed in values.items()}
    for f in figures if runs is not base else ():
        cells[f"{f}, difference"] = paired(values[f], {seed: run["errors"][f] for seed, run in base.items()})
    return cells


def train(job: Job, root: Path) -> dict[str, Any]:
    """Trains and writes a checkpoint as LeRobot lays it out."""
    from lerobot.configs import PreTrainedConfig
    from lerobot.datasets import LeRobotDatasetMetadata
    from lerobot.policies.factory import make_policy, make_pre_post_processors

    import lerobot_policy_wallwm  # noqa: F401
    from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig

    torch.manual_seed(job.seed)
    view = Path(job.view)
    fields = set(WallwmConfig.__dataclass_fields__)
    chosen = {name: value for name, value in job.changes.items() if name in fields}
    config: PreTrainedConfig = WallwmConfig(device="cpu", push_to_hub=False, **chosen)
    if start := job.changes.get("start"):
        overrides = {"device": "cpu", "push_to_hub": "false"} | {
            name: chosen[name] for name in ("stage",) if name in chosen
        }
        config = PreTrainedConfig.from_pretrained(
            start, cli_overrides=[f"--{name}={value}" for name, value in overrides.items()]
        )
        config.pretrained_path = Path(start)
    meta = LeRobotDatasetMetadata(f"local/{view.name}", root=view)
    policy = make_policy(config, ds_meta=meta).train()
    # What only a study turns is no field of the policy but a number of its training stage.
    of_stage = {
        name: frozenset(value) if isinstance(value, list) else value  # from JSON
        for name, value in job.changes.items()
        if name not in {*fields, "start", "altered"}
    }
    shape = policy.model.shape
    policy.model.shape = replace(shape, stage=replace(shape.stage, **of_stage))
    preprocess, postprocess = make_pre_post_processors(config, dataset_stats=meta.stats)
    deltas = config.observation_delta_indices, config.action_delta_indices
    windows = WindowsInMemory(view, Path(job.cache), *deltas, altered=job.changes.get("altered", ""))
    preset = config.get_optimizer_preset()
    optimizer = preset.build(policy.get_optim_params())
    scheduler = config.get_scheduler_preset().build(optimizer, job.steps)
    rows = order(len(windows), job.steps * job.batch, job.seed)
    began, losses = time.perf_counter(), []
    for step in tqdm(range(job.steps), desc=f"training {job.name}", mininterval=10):
        batch = preprocess(windows.batch(rows[step * job.batch : (step + 1) * job.batch]))
        loss, _ = policy(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), preset.grad_clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
        losses.append(float(loss.detach()))
    seconds = time.perf_counter() - began
    for part in (policy, preprocess, postprocess):
        part.save_pretrained(root)
    return {"seconds_per_step": seconds / job.steps, "loss": float(np.mean(losses[-50:]))}


class WindowsInMemory:
    """Training windows of a view held in memory, so that forty short trainings decode its video once.

    Batches equal those of LeRobot's dataset and default collate: windows are clamped to their episode and flagged as
    padding beyond it (checked by tests/benchmarks/test_ablation.py).

    Decoded frames lie in `cache`, memory-mapped and shared by all runs. Deltas are rows relative to the anchor; those of
    states are by default those of the pictures, as lerobot-train reads them.
    """

    def __init__(
        self,
        root: Path,
        cache: Path,
        observation_deltas: list[int],
        action_deltas: list[int],
        state_deltas: list[int] | None = None,
        altered: str = "",
    ):
        from lerobot.datasets import LeRobotDataset, LeRobotDatasetMetadata

        self.meta = LeRobotDatasetMetadata(f"local/{root.name}", root=root)
        self.deltas, self.action_deltas = torch.tensor(observation_deltas), torch.tensor(action_deltas)
        self.state_deltas = self.deltas if state_deltas is None else torch.tensor(state_deltas)
        episodes = self.meta.episodes
        self.first = torch.as_tensor(episodes["dataset_from_index"])
        self.last = torch.as_tensor(episodes["dataset_to_index"]) - 1
        dataset = LeRobotDataset(f"local/{root.name}", root=root, return_uint8=True)
        table = dataset.hf_dataset.with_format("numpy")
        self.state = torch.from_numpy(np.stack(table["observation.state"])).float()
        self.action = torch.from_numpy(np.stack(table["action"])).float()
        self.episode = torch.as_tensor(np.asarray(table["episode_index"]))
        self.altered = altered
        self.tasks = [self.meta.tasks.iloc[int(i)].name for i in table["task_index"]]
        if altered == "words":
            self.tasks = [unheard(task) for task in self.tasks]
        keys = self.meta.camera_keys
        self.frames = {
            key: _decoded(dataset, key, cache / f"{root.parent.name}-{root.name}-{key}.npy") for key in keys
        }

    def __len__(self) -> int:
        return len(self.state)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """One window, as LeRobot's dataset gives it."""
        return {key: values[0] for key, values in self.batch(torch.tensor([row])).items()}

    def batch(self, rows: torch.Tensor) -> dict[str, Any]:
        """The windows anchored at ``rows`` as LeRobot would collate them, pictures in [0, 1]."""
        episode = self.episode[rows]
        first, last = self.first[episode][:, None], self.last[episode][:, None]
        seen, acted = rows[:, None] + self.deltas, rows[:, None] + self.action_deltas
        felt = rows[:, None] + self.state_deltas
        inside = {"seen": seen.clamp(first, last), "acted": acted.clamp(first, last)}
        batch: dict[str, Any] = {
            "observation.state": self.state[felt.clamp(first, last)],
            "observation.state_is_pad": felt.clamp(first, last) != felt,
            "action": self.action[inside["acted"]],
            "action_is_pad": inside["acted"] != acted,
            "task": [self.tasks[row] for row in rows.tolist()],
            "index": rows.clone(),
            "episode_index": episode,
        }
        for key, frames in self.frames.items():
            batch[key] = torch.from_numpy(frames[inside["seen"].numpy()]).float() / 255
            if self.altered == "camera":
                batch[key] = another_camera(batch[key], int(rows[0]))
            batch[f"{key}_is_pad"] = inside["seen"] != seen
        return batch


def another_camera(pictures: torch.Tensor, seed: int) -> torch.Tensor:
    """Pictures ``(..., 3, H, W)`` in [0, 1] as a camera sees them that is dark, warm, flat, soft and noisy."""
    soft = torch.nn.functional.pad(pictures.flatten(0, -4), (1, 1, 1, 1), mode="replicate")
    soft = torch.nn.functional.avg_pool2d(soft, 3, 1).unflatten(0, pictures.shape[:-3])
    tint = torch.tensor([1.0, 0.8, 0.6])[:, None, None]
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(seed))
    return (soft.clamp(0, 1) ** 1.5 * tint * 0.75 + 0.12 + 0.03 * noise).clamp(0, 1)


def unheard(caption: str) -> str:
    """A caption whose colours and things have names that nobody has heard."""
    said = (
        "zorpish",
        "quibbed",
        "flammic",
        "nurlen",
        "vextal",
        "glimmon",
        "tarsic",
        "obrun",
        "gizmo",
        "saucer",
    )
    known = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black", "cube", "disc")
    names = dict(zip(known, said, strict=True))
    return " ".join(names.get(word, word) for word in caption.split())


def _decoded(dataset: Any, key: str, path: Path) -> np.ndarray:
    """Every row's picture of a camera ``(rows, 3, H, W)`` uint8, decoded once."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        from lerobot_wallwm.processors.source.episodes import SourceDataset
        from lerobot_wallwm.processors.source.pictures import pictures

        source = SourceDataset.open(dataset.root)
        # They equal those that LeRobot decodes, and come an episode at a time.
        episodes = map(source.meta, tqdm(range(len(source)), desc=path.name))
        parts = [np.stack(list(pictures(source, episode, key))) for episode in episodes]
        frames = np.concatenate(parts).transpose(0, 3, 1, 2)
        partial = path.with_name(f".{path.name}.partial-{os.getpid()}.npy")
        np.save(partial, frames)
        os.replace(partial, path)
    return np.load(path, mmap_mode="r")


def order(rows: int, count: int, seed: int) -> Any:
    """Rows to draw: every row once before any a second time."""
    generator = torch.Generator().manual_seed(seed)
    epochs = [torch.randperm(rows, generator=generator) for _ in range(-(-count // rows))]
    return torch.cat(epochs)[:count]


def score(job: Job, root: Path) -> dict[str, Any]:
    """Errors of the job's imaginations, and the imagined video's quality."""
    from lerobot_wallwm.check.measure.checkpoint import Checkpoint
    from lerobot_wallwm.check.measure.errors import NEAR
    from lerobot_wallwm.check.measure.observations import load_observations, mean_absolute, predict
    from lerobot_wallwm.check.measure.video import imagine
    from lerobot_wallwm.check.measure.views import read_event_rows, spread_anchors, thin

    checkpoint = Checkpoint(root)
    config, heldout = checkpoint.config, Path(job.heldout)
    deltas = config.observation_delta_indices, config.action_delta_indices
    view = WindowsInMemory(heldout, Path(job.cache), *deltas, [0])
    events = read_event_rows(heldout)
    sources = view.meta.episodes["wallwm/source_episode"]
    seen = load_observations(checkpoint, view, events, thin(spread_anchors(events, 3), job.observations))

    def told(observations: Any) -> list[str]:
        pairs = zip(observations.anchors, observations.captions, strict=True)
        return [job.told.get(str(int(sources[anchor.event])), caption) for anchor, caption in pairs]

    near = seen.valid.copy()
    near[:, NEAR:] = False
    result: dict[str, Any] = {}
    for imagination in job.imaginations:
        config.imagination = imagination
        found = predict(checkpoint, seen, captions=told(seen))
        off = found.actions - seen.true
        errors = {"near": mean_absolute(off, near), "event": mean_absolute(off, seen.valid)}
        errors["remaining"] = float(np.abs(found.remaining - seen.remaining).mean()) / view.meta.fps
        result.setdefault("errors", errors)
        result[f"imagination {imagination}"] = errors
    if job.video:
        keyframes = [anchor for anchor in seen.anchors if anchor.offset == 0]
        films = load_observations(checkpoint, view, events, thin(keyframes, CLIPS))
        films.captions = told(films)
        result["video"] = imagine(checkpoint, films, view.meta.fps).metrics
    return result


def sight(root: Path, heldout: Path, cache: Path, altered: str = "") -> dict[str, Any]:
    """Where a checkpoint ends the events of these kinds, by what was exchanged: see `check.measure.sight`."""
    from lerobot_wallwm.check.measure.checkpoint import Checkpoint
    from lerobot_wallwm.check.measure.observations import load_observations
    from lerobot_wallwm.check.measure.sight import OWN, measure_sight
    from lerobot_wallwm.check.measure.views import Anchor, read_event_rows

    checkpoint = Checkpoint(root)
    config = checkpoint.config
    deltas = config.observation_delta_indices, config.action_delta_indices
    view, events = WindowsInMemory(heldout, cache, *deltas, [0], altered), read_event_rows(heldout)
    anchors = []
    for index, event in enumerate(events):
        frames = len(event.action)
        first = max(0, frames - config.horizon)
        offsets = sorted({first + (frames - first) * i // 3 for i in range(3)})
        anchors += [Anchor(index, o, event.first_row + o) for o in offsets if event.kind in KINDS]
    seen = load_observations(checkpoint, view, events, anchors)
    if altered == "words":
        seen.captions = [unheard(caption) for caption in seen.captions]
    joints = config.action_feature_names or [f"joint {d}" for d in range(seen.true.shape[2])]
    found = measure_sight(checkpoint, seen, events, joints, imagination=True)
    places = gripper_places(found.true)
    named = list(found.counts())
    apart = {
        name: np.linalg.norm(gripper_places(ends) - places, axis=1) * 1e3 for name, ends in found.ends.items()
    }
    return {
        "events": found.counts(),
        "observations": len(found.true),
        "degrees": {
            name: {**{kind: found.mean(name, kind) for kind in named}, "all": found.mean(name)}
            for name in found.ends
        },
        "times": {name: found.times(name) for name in found.ends},
        "joints": dict(zip(joints, np.abs(found.ends[OWN] - found.true).mean(0).tolist(), strict=True)),
        "millimetres": {
            name: {
                "median": float(np.median(mm)),
                **{kind: float(np.median(mm[found.kinds == kind])) for kind in named},
            }
            for name, mm in apart.items()
        },
    }


def gripper_places(actions_ND: np.ndarray) -> np.ndarray:
    """Where the simulated arm's gripper is in these poses ``(N, 3)``, metres."""
    import mujoco

    from lerobot_env_so101_sim.env import So101PickPlaceEnv

    env = So101PickPlaceEnv(cameras=False)
    model, data = env.simulation.model, mujoco.MjData(env.simulation.model)
    tool = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, "gripperframe")
    out = []
    for action in actions_ND:
        data.qpos[:6] = env.to_joints(action)[:6]
        mujoco.mj_kinematics(model, data)
        out.append(data.site_xpos[tool].copy())
    env.close()
    return np.array(out)


def main() -> None:
    """Runs a job and writes its result, whole or not at all."""
    torch.set_num_threads(1)
    order_file, result = map(Path, sys.argv[1:3])
    job, root = Job(**json.loads(order_file.read_text())), result.with_suffix("")
    found = train(job, root)
    found["checkpoint"] = str(root)
    if not job.heldout:
        pass
    elif job.sight:
        altered = job.changes.get("altered", "")
        found["sight"] = sight(root, Path(job.heldout), Path(job.cache), altered=altered)
    else:
        found |= score(job, root)
    partial = result.with_suffix(".partial")
    partial.write_text(json.dumps(found, indent=1) + "\n")
    os.replace(partial, result)


if __name__ == "__main__":
    main()
