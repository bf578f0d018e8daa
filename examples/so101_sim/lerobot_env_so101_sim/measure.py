# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Prints the figures that the README quotes.

python -m lerobot_env_so101_sim.measure speed
python -m lerobot_env_so101_sim.measure speed --task Table-v0 --split more_objects --environments 2
python -m lerobot_env_so101_sim.measure expert --episodes 40
python -m lerobot_env_so101_sim.measure expert --episodes 100 --task Table-v0
python -m lerobot_env_so101_sim.measure pictures --out tables.png
python -m lerobot_env_so101_sim.measure replay --root data/so101_pick_place
python -m lerobot_env_so101_sim.measure encoding --episodes 4
python -m lerobot_env_so101_sim.measure spread --episodes 20
python -m lerobot_env_so101_sim.measure eye --policy outputs/demo/policy --episodes 40
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lerobot_env_so101_sim.configuration import (
    CAMERAS,
    FPS,
    IMAGE_SIZE,
    SPLITS_OF,
    TABLE_TASK,
    TASK,
    So101SimEnvConfig,
)
from lerobot_env_so101_sim.env import So101PickPlaceEnv
from lerobot_env_so101_sim.expert import Expert, Style
from lerobot_env_so101_sim.record import CRF, GOP, PRESET, demonstrate, features, scene
from lerobot_env_so101_sim.tables.splits import TABLE_SPLITS


def speed(task: str, split: str | None, environments: int, steps: int = 200) -> None:
    """Prints control steps per second, both renders included, of environments that LeRobot runs side by side."""
    config = So101SimEnvConfig(task=task, split=split or SPLITS_OF[task][0], episode_length=10 * steps)
    vector = config.create_envs(environments, use_async_envs=environments > 1)[config.type][0]
    hold = vector.reset(seed=list(range(environments)))[0]["agent_pos"]
    vector.step(hold)
    started, used = time.perf_counter(), time.process_time()
    for _ in range(steps):
        vector.step(hold)
    wall, cpu = time.perf_counter() - started, time.process_time() - used
    vector.close()
    # On a busy machine only the CPU time says something about this code; several environments are other processes.
    own = f", {cpu / steps * 1000:.1f} ms of CPU time a step" if environments == 1 else ""
    print(f"{environments * steps / wall:.1f} steps/s with two renders, {environments} side by side{own}")


def expert(task: str, split: str | None, episodes: int, first_seed: int = 5000) -> None:
    """Prints how often the expert succeeds on unselected seeds, for each split and each plan of steps."""
    from scipy.stats import binomtest

    default = SPLITS_OF[task] if task == TABLE_TASK else ("all",)
    for name in [split] if split else default:
        env = scene(task, split=name, cameras=False)
        lengths, plans = [], Counter[str]()
        for seed in tqdm(range(first_seed, first_seed + episodes), unit="episode", desc=name):
            frames, *_, success = demonstrate(env, seed)
            lengths.append(len(frames))
            plans[("" if success else "not ") + str(env.about_scene().get("plan", "done"))] += 1
        env.close()
        solved = sum(count for plan, count in plans.items() if not plan.startswith("not "))
        interval = binomtest(solved, episodes).proportion_ci(method="wilson")
        print(
            f"{name}: {solved} of {episodes} episodes ({100 * interval.low:.1f} to {100 * interval.high:.1f} %), "
            f"{np.mean(lengths):.0f} steps on average; {dict(sorted(plans.items()))}",
            flush=True,
        )


def pictures(out: Path, scenes: int = 4) -> None:
    """Writes a sheet of what the policy sees when an episode begins: a row for each split of tables, two cameras a scene."""
    from PIL import Image, ImageDraw

    label, edge = 16, 2 * IMAGE_SIZE
    sheet = Image.new("RGB", (scenes * edge, len(TABLE_SPLITS) * (IMAGE_SIZE + label)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, split in enumerate(tqdm(TABLE_SPLITS, unit="split")):
        env = scene(TABLE_TASK, split=split)
        top = row * (IMAGE_SIZE + label)
        for seed in range(scenes):
            seen = env.reset(seed=seed)[0]["pixels"]
            pair = np.hstack([seen["overhead"], seen["wrist"]])
            sheet.paste(Image.fromarray(pair), (seed * edge, top + label))
        draw.text((2, top + 2), split.replace("_", " "), fill="black")
        env.close()
    sheet.save(out, optimize=True)
    print(f"{out}: {out.stat().st_size / 1e3:.0f} kB")


def replay(root: Path, episodes: int) -> None:
    """Prints how often the recorded actions, sent blindly, solve the scene they were recorded in.

    Episodes that start elsewhere are left out: the way there is not in the record.
    """
    import pyarrow.parquet as pq
    from lerobot.datasets import LeRobotDataset

    rows = pq.read_table(root.with_name(f"{root.name}_phases.parquet")).to_pylist()
    about = {row["episode_index"]: row for row in rows}
    dataset = LeRobotDataset(f"local/{root.name}", root=root)
    table = dataset.hf_dataset.with_format("numpy", columns=["action", "episode_index"])
    actions, owners = np.stack(table["action"]), np.asarray(table["episode_index"])
    env = So101PickPlaceEnv(split="seen", cameras=False)
    solved = 0
    at_home = [e for e in range(dataset.num_episodes) if not about[e]["starts_elsewhere"]][:episodes]
    for episode in tqdm(at_home, unit="episode"):
        env.reset(seed=about[episode]["seed"])
        for action in actions[owners == episode]:
            *_, info = env.step(action)
        solved += info["is_success"]
    print(f"replay: {solved} of {len(at_home)} episodes")
    env.close()


def encoding(episodes: int) -> None:
    """Prints size, quality and random-access time of LeRobot's default video encoding and of the recorder's."""
    from lerobot.configs.video import RGBEncoderConfig
    from lerobot.datasets import LeRobotDataset

    env = So101PickPlaceEnv(split="seen")
    demonstrations = [demonstrate(env, seed)[0] for seed in range(600, 600 + episodes)]
    env.close()
    raw = [frame for frames in demonstrations for frame in frames]
    keys = [f"observation.images.{camera}" for camera in CAMERAS]
    window = {key: [0.25 * step for step in range(9)] for key in keys}
    choices = {"default": RGBEncoderConfig(), "ours": RGBEncoderConfig(g=GOP, crf=CRF, preset=PRESET)}
    with tempfile.TemporaryDirectory() as folder:
        loaded = {}
        for name, encoder in choices.items():
            root = Path(folder) / name
            dataset = LeRobotDataset.create(
                f"local/{name}",
                FPS,
                features(),
                root=root,
                rgb_encoder=encoder,
                streaming_encoding=True,
                encoder_queue_maxsize=1000,
            )
            for frames in demonstrations:
                for frame in frames:
                    dataset.add_frame({**frame, "task": "measure"})
                dataset.save_episode(parallel_encoding=False)
            dataset.finalize()
            loaded[name] = LeRobotDataset(f"local/{name}", root=root, delta_timestamps=window)
        # Both in turn, item by item: other load on the machine then weighs on both alike.
        picks = np.random.default_rng(0).integers(0, len(raw), 60)
        times: dict[str, list[float]] = {name: [] for name in choices}
        errors: dict[str, dict[str, list[float]]] = {name: {key: [] for key in keys} for name in choices}
        for pick in tqdm(picks, unit="item"):
            for name, dataset in loaded.items():
                started = time.perf_counter()
                item = dataset[int(pick)]
                times[name].append(time.perf_counter() - started)
                for key in keys:
                    decoded = item[key][0].permute(1, 2, 0).numpy() * 255
                    errors[name][key].append(float(np.mean((decoded - raw[pick][key].astype(float)) ** 2)))
        for name, encoder in choices.items():
            size = sum(path.stat().st_size for path in (Path(folder) / name).rglob("*.mp4"))
            quality = ", ".join(
                f"{key.rsplit('.', 1)[1]} {np.mean(10 * np.log10(255**2 / np.array(values))):.1f} dB"
                for key, values in errors[name].items()
            )
            print(
                f"{name} (g={encoder.g}, crf={encoder.crf}): {size / len(raw):.0f} bytes a step, PSNR {quality}, "
                f"9 frames over 2 s of 2 cameras in {np.median(times[name]) * 1000:.0f} ms (median)"
            )


def spread(episodes: int, draws: int = 12) -> None:
    """Prints how far the expert's phases end from where they end on average in the same scene.

    No policy that sees scene and phase can end nearer than that to a single demonstration.
    """
    import mujoco

    env = So101PickPlaceEnv(split="seen", cameras=False)
    model, data = env.simulation.model, mujoco.MjData(env.simulation.model)
    tool = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, "gripperframe")

    def place(row: np.ndarray) -> np.ndarray:
        data.qpos[:6] = env.to_joints(row)
        mujoco.mj_kinematics(model, data)
        return data.site_xpos[tool].copy() * 1e3

    degrees: dict[str, list[float]] = {}
    millimetres: dict[str, list[float]] = {}
    plain = Style(noisy=False, misses_first_grasp=False, pace=0.9)
    for seed in tqdm(range(700_000, 700_000 + episodes), unit="scene"):
        env.reset(seed=seed)
        ends: dict[str, list[np.ndarray]] = {}
        for draw in range(draws):
            last = {}
            try:
                for command in Expert(env, np.random.default_rng([draw, 404]), plain).commands():
                    last[command.phase] = command.planned
            except ValueError:
                continue
            for phase, end in last.items():
                ends.setdefault(phase, []).append(end)
        for phase, rows in ends.items():
            for i, end in enumerate(rows):
                usual = np.mean(rows[:i] + rows[i + 1 :], axis=0)
                degrees.setdefault(phase, []).append(float(np.abs(end - usual)[:5].mean()))
                millimetres.setdefault(phase, []).append(float(np.linalg.norm(place(end) - place(usual))))
    for phase, values in degrees.items():
        print(f"{phase}: {np.mean(values):.2f} degrees, {np.median(millimetres[phase]):.1f} mm (median)")
    env.close()


def eye(policy: Path, episodes: int) -> None:
    """Prints how far a checkpoint's landmarks lie from what captions name, in the benchmark's scenes with seen colours.

    Of each landmark the median offset is forgiven, and of all landmarks the nearest counts: nobody told a policy that
    began with random weights which is to find what. Base weights are checkpoints, too.
    """
    import torch
    from safetensors.torch import load_file

    from lerobot_env_so101_sim.glimpses import POINTS, glimpses
    from lerobot_wallwm.language.instruction import fill, parse_instruction
    from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
    from lerobot_wallwm.policies.encoders.hashed_words import HashedTextEncoder
    from lerobot_wallwm.policies.towers.landmarks import Landmarks
    from lerobot_wallwm.processors.caption.captioner import caption_templates

    config, state = WallwmConfig(device="cpu"), load_file(policy / "model.safetensors")
    landmarks = Landmarks(config.text_dim, config.landmarks, config.max_views, config.video_width).eval()
    words = HashedTextEncoder(config.text_dim, config.max_text_tokens).eval()
    for part, name in ((landmarks, "model.landmarks."), (words, "model.text_encoder.")):
        part.load_state_dict({k.removeprefix(name): v for k, v in state.items() if k.startswith(name)})
    env = So101PickPlaceEnv(split="seen")
    seeds = tqdm(range(900_000, 900_000 + episodes), unit="scene")
    seen = [glimpse for seed in seeds for glimpse in glimpses(env, seed)]
    env.close()
    pictures = torch.from_numpy(np.stack([glimpse.pictures for glimpse in seen])).movedim(-1, 2) / 127.5 - 1
    half = pictures.shape[-1] / 2
    true = np.stack([glimpse.places for glimpse in seen]) * half
    for k, (point, kind) in enumerate(zip(POINTS, ("approach", "move", "approach"), strict=True)):
        captions = [fill(caption_templates(g.task)[kind], parse_instruction(g.task)) for g in seen]
        with torch.no_grad():
            tokens = landmarks(pictures, words(captions))
            found = (landmarks.code.read(tokens) / landmarks.code.GAIN).numpy() * (
                half - landmarks.STRIDE / 2
            )
        off = found - true[:, :, None, k]  # (N, V, K, 2)
        off = np.linalg.norm(off - np.nanmedian(off, axis=0), axis=-1)
        for v, camera in enumerate(CAMERAS):
            medians = np.nanmedian(off[:, v], axis=0)
            high = np.nanquantile(off[:, v, medians.argmin()], 0.9)
            print(
                f"{camera}, {point}: {medians.min():.2f} pixels, nine of ten within {high:.1f}; {len(seen)} pictures"
            )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what", choices=("speed", "expert", "pictures", "replay", "encoding", "spread", "eye")
    )
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--task", choices=SPLITS_OF, default=TASK, help="whose scenes (speed, expert)")
    parser.add_argument("--split", help="of the task (speed, expert); the expert goes through all")
    parser.add_argument("--environments", type=int, default=1, help="side by side (speed)")
    parser.add_argument("--policy", type=Path, default=Path("weights/nano-base"), help="whose eye")
    parser.add_argument("--out", type=Path, default=Path("tables.png"), help="of pictures")
    parser.add_argument("--root", type=Path, default=Path("data/so101_pick_place"))
    arguments = parser.parse_args()
    if arguments.what == "speed":
        speed(arguments.task, arguments.split, arguments.environments)
    elif arguments.what == "expert":
        expert(arguments.task, arguments.split, arguments.episodes)
    elif arguments.what == "pictures":
        pictures(arguments.out)
    elif arguments.what == "spread":
        spread(arguments.episodes)
    elif arguments.what == "eye":
        eye(arguments.policy, arguments.episodes)
    elif arguments.what == "replay":
        replay(arguments.root, arguments.episodes)
    else:
        encoding(arguments.episodes)


if __name__ == "__main__":
    main()
