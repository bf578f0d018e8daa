# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Records scripted demonstrations with LeRobot's own dataset writer.

    python -m lerobot_env_so101_sim.record --root data/so101_pick_place --episodes 100 --seed 0
    python -m lerobot_env_so101_sim.record --root outputs/tables --episodes 100 --task Table-v0

The dataset holds what a real SO-101 would record and nothing else. The expert's phases go to a separate parquet file
beside it (``<root>_phases.parquet``), ground truth for scoring a segmentation: one row per phase with
``episode_index, phase, start, end`` (half-open frames), and the episode's ``seed``, ``execution_noise``,
``missed_grasp`` and ``starts_elsewhere``. Tables with choices add ``step`` (from 0), ``object`` and ``target``.

``--perturb 0.03`` records recoveries instead: each demonstration starts in a ball of 3 cm around the tool's pose at the
grasp or at the placing, turned by up to ``--perturb_yaw`` degrees. The way there is not recorded. The phases file then
also says ``perturbed`` (grasp or place) and the offset drawn: ``offset_x, offset_y, offset_z`` (metres) and
``offset_yaw`` (radians).
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lerobot_env_so101_sim.configuration import CAMERAS, FPS, IMAGE_SIZE, SPLITS_OF, TABLE_TASK, TASK
from lerobot_env_so101_sim.env import MOTORS, So101PickPlaceEnv
from lerobot_env_so101_sim.expert import SET_UP, Command, Expert, Style
from lerobot_env_so101_sim.perturbation import CONTACTS, Perturbation
from lerobot_env_so101_sim.tables.env import So101TableEnv

ROBOT_TYPE = "so101_follower"
# Our choice, measured in the README: a longer group of pictures than LeRobot's 2 makes these still scenes several
# times smaller and costs little in random access.
GOP = 30
CRF = 43
# SVT-AV1's effort, 0 (most) to 13. Encoding takes 1 s an episode and camera, once; decoding does not care.
PRESET = 4


def scene(task: str = TASK, **kwargs) -> So101PickPlaceEnv:
    """Makes the environment of a task, see `So101SimEnvConfig`."""
    return So101TableEnv(**kwargs) if task == TABLE_TASK else So101PickPlaceEnv(**kwargs)


def features() -> dict:
    """Returns the dataset's features, named as LeRobot names them for an SO-101 with two cameras."""
    joints = {"dtype": "float32", "shape": (6,), "names": [f"{motor}.pos" for motor in MOTORS]}
    image = {"dtype": "video", "shape": (IMAGE_SIZE, IMAGE_SIZE, 3), "names": ["height", "width", "channels"]}
    cameras = {f"observation.images.{camera}": dict(image) for camera in CAMERAS}
    return {"action": dict(joints), "observation.state": dict(joints), **cameras}


def demonstrate(
    env: So101PickPlaceEnv, seed: int, perturbation: Perturbation | None = None, effort: bool = False
) -> tuple[list[dict], list[Command], Style, bool]:
    """Plays one demonstration.

    Args:
        env: The environment, unwrapped.
        seed: Fixes scene and demonstration.
        perturbation: A start near a contact; None starts where the seed says.
        effort: Adds `observation.effort` to the frames.

    Returns:
        One frame per step in the dataset's features, the commands, the style, and whether it ended in full success.
        A scene with a waypoint out of reach counts as a failure.
    """
    observation, _ = env.reset(seed=seed)
    expert = Expert(env, np.random.default_rng([seed, 202]), perturbation=perturbation)
    frames: list[dict] = []
    commands: list[Command] = []
    success = False
    try:
        for command in expert.commands():
            images = {
                f"observation.images.{name}": picture for name, picture in observation["pixels"].items()
            }
            state = observation["agent_pos"]
            if command.phase != SET_UP:
                frames.append({"action": command.planned, "observation.state": state, **images})
                if effort:
                    frames[-1]["observation.effort"] = env.effort()
                commands.append(command)
            observation, _, _, _, info = env.step(command.executed)
            success = env.is_accomplished(info)
    except ValueError:
        success = False
    return frames, commands, expert.style, success


def record(
    root: Path,
    episodes: int,
    seed: int,
    crf: int = CRF,
    gop: int = GOP,
    perturb: float = 0.0,
    perturb_yaw: float = 0.0,
    perturb_at: str | None = None,
    task: str = TASK,
    split: str = "seen",
) -> dict:
    """Writes a LeRobotDataset of successful demonstrations and the phases file beside it.

    Args:
        root: Folder of the dataset; it must not exist.
        episodes: Successful episodes to keep.
        seed: Seed of the first demonstration; each try takes the next.
        crf: Quality of the AV1 video, 0 (best) to 63.
        gop: Frames from one key frame to the next.
        perturb: Radius of the ball around the contact pose, metres; 0 records whole demonstrations.
        perturb_yaw: Largest turn of the tool, degrees.
        perturb_at: ``grasp`` or ``place``; either with equal chance if left out.
        task: ``PickPlace-v0`` or ``Table-v0``.
        split: What to draw from.

    Returns:
        ``{"episodes", "tries", "frames"}``.

    Raises:
        FileExistsError: The dataset or the phases file exists.
        ValueError: A perturbation is out of range.
    """
    if perturb:
        Perturbation.draw(seed, perturb, perturb_yaw, perturb_at)
    elif perturb_yaw or perturb_at:
        raise ValueError("perturb_yaw and perturb_at need perturb, the ball's radius in metres, e.g. 0.03")
    import pyarrow as pa
    import pyarrow.parquet as pq
    from lerobot.configs.video import RGBEncoderConfig
    from lerobot.datasets import LeRobotDataset

    root = Path(root)
    phases_path = root.with_name(f"{root.name}_phases.parquet")
    for path in (root, phases_path):
        if path.exists():
            raise FileExistsError(f"{path} exists; remove it or choose another --root")
    unfinished = root.with_name(f".{root.name}.partial-record")
    shutil.rmtree(unfinished, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    dataset = LeRobotDataset.create(
        repo_id=f"local/{root.name}",
        fps=FPS,
        features=features(),
        root=unfinished,
        robot_type=ROBOT_TYPE,
        rgb_encoder=RGBEncoderConfig(g=gop, crf=crf, preset=PRESET),
        # Straight to the encoder, without a PNG per frame. A full queue would drop frames, so it holds an episode.
        streaming_encoding=True,
        encoder_queue_maxsize=1000,
    )
    env = scene(task, split=split)
    rows: list[dict] = []
    kept = tries = total = 0
    with tqdm(total=episodes, desc="recording", unit="episode") as bar:
        while kept < episodes:
            perturbation = None
            if perturb:
                perturbation = Perturbation.draw(seed + tries, perturb, perturb_yaw, perturb_at)
            frames, commands, style, success = demonstrate(env, seed + tries, perturbation)
            tries += 1
            bar.set_postfix(tries=tries)
            if not success:
                continue
            for frame in frames:
                dataset.add_frame({**frame, "task": env.task_description})
            dataset.save_episode(parallel_encoding=False)
            rows += phase_rows(kept, seed + tries - 1, commands, style, perturbation, env.named_steps())
            kept, total = kept + 1, total + len(frames)
            bar.update()
    dataset.finalize()
    env.close()
    unfinished_phases = phases_path.with_name(f".{phases_path.name}.partial-record")
    pq.write_table(pa.Table.from_pylist(rows), unfinished_phases)
    unfinished.rename(root)
    unfinished_phases.rename(phases_path)
    return {"episodes": kept, "tries": tries, "frames": total}


def phase_rows(
    episode: int,
    seed: int,
    commands: list[Command],
    style: Style,
    perturbation: Perturbation | None = None,
    steps: Sequence[tuple[str, str]] = (),
) -> list[dict]:
    """Returns one row per phase of an episode, with half-open frame intervals that cover it without gaps.

    Args:
        episode: Its index.
        seed: Of its scene.
        commands: Of its demonstration.
        style: Of its demonstration.
        perturbation: Where it started near a contact.
        steps: What each step moves, and where to, if there is a choice.
    """
    rows: list[dict] = []
    start = 0
    for (phase, step), run in groupby(commands, key=lambda command: (command.phase, command.step)):
        end = start + len(list(run))
        rows.append(
            {
                "episode_index": episode,
                "phase": phase,
                "start": start,
                "end": end,
                "seed": seed,
                "execution_noise": style.noisy,
                "missed_grasp": style.misses_first_grasp,
                "starts_elsewhere": style.starts_elsewhere,
                **(perturbation.columns() if perturbation else {}),
                **(dict(zip(("object", "target"), steps[step], strict=True), step=step) if steps else {}),
            }
        )
        start = end
    return rows


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="folder of the new dataset")
    parser.add_argument("--episodes", type=int, default=100, help="successful episodes to keep")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first demonstration")
    parser.add_argument("--crf", type=int, default=CRF, help="video quality, 0 (best) to 63")
    parser.add_argument("--gop", type=int, default=GOP, help="frames from one key frame to the next")
    parser.add_argument(
        "--perturb", type=float, default=0.0, help="radius of starts around a contact pose, metres"
    )
    parser.add_argument("--perturb_yaw", type=float, default=0.0, help="and their largest turn, degrees")
    parser.add_argument("--perturb_at", choices=CONTACTS, help="which contact; default: either")
    parser.add_argument("--task", choices=SPLITS_OF, default=TASK, help="whose scenes")
    parser.add_argument("--split", default="seen", help="what to draw from; training has seen only")
    arguments = parser.parse_args()
    try:
        summary = record(
            arguments.root,
            arguments.episodes,
            arguments.seed,
            arguments.crf,
            arguments.gop,
            arguments.perturb,
            arguments.perturb_yaw,
            arguments.perturb_at,
            arguments.task,
            arguments.split,
        )
    except (ValueError, FileExistsError) as error:
        parser.error(str(error))
    size = sum(path.stat().st_size for path in arguments.root.rglob("*") if path.is_file())
    print(
        f"{arguments.root}: {summary['episodes']} episodes of {summary['tries']} tries, "
        f"{summary['frames']} frames, {size / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    main()
