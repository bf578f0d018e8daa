# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Makes the base weights of `nano`: an eye that finds in pictures what captions name.

    python scripts/base_weights.py --out=outputs/base

Landmarks and words learn where something lies that a caption names, in simulated scenes of which no two are alike: the
simulator knows its place in every picture. Nothing else is trained: towers and goal head start as in a new policy, and
arm and cameras are those of the dataset that one then trains on. All numbers are our choice.

What they are worth on a task and an overhead camera that the scenes do not hold, at equal steps:
`python -m benchmarks learning sight --fresh=45 --only default "base weights"`.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from lerobot_wallwm.language.instruction import fill, parse_instruction
from lerobot_wallwm.policies.encoders.hashed_words import HashedTextEncoder
from lerobot_wallwm.policies.towers.landmarks import Landmarks, block_places, mean_word
from lerobot_wallwm.processors.caption.captioner import caption_templates

FIRST_SEED = 20_000_000
VERBS = ("reach", "approach", "grasp", "lift", "move", "lower", "release", "retreat")
# The first landmarks find the points of a glimpse, in their order; the others are left to what follows.
OBJECT, TARGET = "{object}", "{target}"
BATCH, RATE, HELDOUT_SCENES = 32, 3e-3, 12


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for scenes and the checkpoint")
    parser.add_argument("--scenes", type=int, default=1400)
    parser.add_argument("--steps", type=int, default=8000, help="32 moments each")
    parser.add_argument("--jobs", type=int, default=2, help="processes that simulate")
    args = parser.parse_args()
    torch.set_num_threads(1)  # small operators; two threads wait for each other
    scenes = args.out / f"glimpses{args.scenes}.npz"
    if not scenes.exists():
        save_glimpses(scenes, args.scenes, args.jobs)
    eye, found = train_eye(scenes, args.steps)
    for name, pixels in found.items():
        print(f"{name}: {pixels} pixels beside its place, the median of held-out scenes")
    save(eye, args.out / "nano-base")


def save_glimpses(path: Path, scenes: int, jobs: int) -> None:
    """Pictures ``(N, V, H, W, 3)``, places ``(N, V, 3, 2)``, tasks and scenes ``(N,)``."""
    parts = np.array_split(np.arange(scenes), max(1, scenes // 100))
    path.parent.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[int, Any]] = []
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        for part in tqdm(pool.map(_glimpses_of, parts), total=len(parts), desc="glimpses, 100 scenes each"):
            rows += part
    seen = [glimpse for _, glimpse in rows]
    partial = path.with_suffix(".partial.npz")
    np.savez(
        partial,
        pictures=np.stack([g.pictures for g in seen]),
        places=np.stack([g.places for g in seen]),
        tasks=np.array([g.task for g in seen]),
        scenes=np.array([scene for scene, _ in rows]),
    )
    partial.rename(path)


def _glimpses_of(scenes: np.ndarray) -> list[tuple[int, Any]]:
    from lerobot_env_so101_sim.rendering import choose_backend

    choose_backend()  # before the modules import MuJoCo
    from lerobot_env_so101_sim.glimpses import glimpses
    from lerobot_env_so101_sim.wide import So101WideEnv

    env = So101WideEnv()
    found = [(int(i), g) for i in scenes for g in glimpses(env, FIRST_SEED + int(i))]
    env.close()
    return found


def train_eye(scenes: Path, steps: int) -> tuple[dict[str, dict[str, Tensor]], dict[str, float]]:
    """State dicts of landmarks and words, and by how much their places are off in every twelfth scene."""
    from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    shown = dict(np.load(scenes))
    held = shown["scenes"] % HELDOUT_SCENES == 0
    config = WallwmConfig(device="cpu")
    eye = Landmarks(config.text_dim, config.landmarks, config.max_views, config.video_width)
    words = HashedTextEncoder(config.text_dim, config.max_text_tokens)
    parameters = [*eye.parameters(), *words.parameters()]
    optimizer = torch.optim.AdamW(parameters, RATE, weight_decay=0.01)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    rows = np.flatnonzero(~held)
    for _ in tqdm(range(steps), desc="eye", mininterval=10):
        some = rng.choice(rows, BATCH)
        fits, places, known = _look(eye, words, shown, some, rng.choice(VERBS, len(some)), augment=True)
        loss = _loss(fits, places, known)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        rates.step()
    off: dict[str, list[Tensor]] = {}
    cameras = ("wrist", "overhead")[: shown["pictures"].shape[1]]
    with torch.no_grad():
        eye.eval()
        for some in np.array_split(np.flatnonzero(held), max(1, held.sum() // BATCH)):
            verbs = [VERBS[i % len(VERBS)] for i in range(len(some))]
            fits, places, known = _look(eye, words, shown, some, verbs, augment=False)
            apart = (_points(fits) - places).norm(dim=-1) * (config.image_size[0] - eye.STRIDE) / 2
            for k, name in enumerate(("object", "target", "tool")):
                for v, camera in enumerate(cameras):
                    of_camera = known[:, k] & (torch.arange(len(known)) % len(cameras) == v)
                    off.setdefault(f"{camera}, {name}", []).append(apart[:, k][of_camera])
    found = {
        name: round(float(torch.cat(parts).median()), 2)
        for name, parts in off.items()
        if len(torch.cat(parts))
    }
    return {"landmarks": eye.state_dict(), "text_encoder": words.state_dict()}, found


def _look(
    eye: Landmarks,
    words: HashedTextEncoder,
    shown: dict[str, Any],
    rows: np.ndarray,
    verbs: Any,
    augment: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Fits ``(2 N, 3, h, w)`` of the points' landmarks, where they ought to be, and of which that is known."""
    captions = [caption_templates(task)[verb] for task, verb in zip(shown["tasks"][rows], verbs, strict=True)]
    names = torch.tensor([[OBJECT in caption, TARGET in caption, True] for caption in captions])
    texts = [fill(c, parse_instruction(task)) for c, task in zip(captions, shown["tasks"][rows], strict=True)]
    frames = torch.from_numpy(shown["pictures"][rows]).movedim(-1, 2).flatten(0, 1).float() / 127.5 - 1
    views = shown["pictures"].shape[1]
    text = mean_word(words(texts)).repeat_interleave(views, 0)
    # From the picture's edges to the middles of its outer blocks, as landmarks count.
    size = frames.shape[-1]
    places = torch.from_numpy(shown["places"][rows]).flatten(0, 1) * size / (size - eye.STRIDE)
    known = names.repeat_interleave(views, 0) & ~places.isnan().any(-1)
    places = places.nan_to_num()
    if augment:
        frames = ((frames + 1) * torch.empty(len(frames), 3, 1, 1).uniform_(0.8, 1.2) - 1).clamp(-1, 1)
        frames, shift = eye.move(frames)
        places = places + shift[:, None]
    return eye.maps(frames, text)[0][:, : places.shape[1]], places, known


def _points(fits: Tensor) -> Tensor:
    return fits.flatten(2).softmax(-1) @ block_places(fits)


def _loss(fits: Tensor, places: Tensor, known: Tensor) -> Tensor:
    """Distance of the expected places, and a little of the maps' cross entropy to the four blocks around the true ones."""
    height, width = fits.shape[-2:]
    at = (places + 1) / 2 * places.new_tensor([width - 1, height - 1])
    at = torch.minimum(at.clamp_min(0), at.new_tensor([width - 1.001, height - 1.001]))
    block = at.floor()
    part, (x, y) = at - block, block.long().unbind(-1)
    chances, entropy = fits.flatten(2).log_softmax(-1), torch.zeros_like(places[..., 0])
    for dx in (0, 1):
        for dy in (0, 1):
            weight = (part - torch.tensor([1.0 - dx, 1.0 - dy])).abs().prod(-1)
            entropy = entropy - weight * chances.gather(-1, ((y + dy) * width + x + dx)[..., None])[..., 0]
    apart = F.smooth_l1_loss(_points(fits), places, reduction="none", beta=0.1).sum(-1)
    return ((0.1 * entropy + 2 * apart) * known).sum() / known.sum()


def save(eye: dict[str, dict[str, Tensor]], folder: Path) -> None:
    """Writes the checkpoint: settings of the model, no cameras, no arm; `lerobot-train --policy.path` adds the dataset's."""
    from lerobot.policies.factory import make_pre_post_processors
    from safetensors.torch import save_file

    from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig

    config = WallwmConfig(device="cpu", push_to_hub=False)
    config.save_pretrained(folder)
    config.learned.eye_taught = True
    config.learned.write(folder)
    weights = {
        f"model.{part}.{name}": value.contiguous()
        for part, state in eye.items()
        for name, value in state.items()
    }
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    for steps in make_pre_post_processors(config):
        steps.save_pretrained(folder)


if __name__ == "__main__":
    main()
