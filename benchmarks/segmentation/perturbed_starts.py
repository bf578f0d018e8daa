# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How often the simulator's expert recovers from perturbed starts, and what our captions make of its recoveries.

No cameras, so no OpenGL is needed; 1 to 2 s a try.

    python benchmarks/perturbed_starts.py [--tries=40] [--perturb=0.03] [--perturb_yaw=15] [--seed=50000]
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np
from tqdm import tqdm

from lerobot_env_so101_sim.env import MOTORS, So101PickPlaceEnv
from lerobot_env_so101_sim.perturbation import CONTACTS, Perturbation
from lerobot_env_so101_sim.record import demonstrate
from lerobot_wallwm.processors.caption.captioner import EventCaptioner
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import Episode

NAMES = tuple(f"{motor}.pos" for motor in MOTORS)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tries", type=int, default=40, help="of each contact")
    parser.add_argument("--perturb", type=float, default=0.03, help="radius, metres")
    parser.add_argument("--perturb_yaw", type=float, default=15.0, help="largest turn, degrees")
    parser.add_argument("--seed", type=int, default=50000)
    args = parser.parse_args()
    env = So101PickPlaceEnv(split="all", cameras=False)
    segmenter, captioner = EventSegmenter(), EventCaptioner()
    for contact in (None, *CONTACTS):
        solved, seconds, patterns = 0, [], Counter()
        for seed in tqdm(
            range(args.seed, args.seed + args.tries), desc=contact or "unperturbed", leave=False
        ):
            perturbation = None
            if contact is not None:
                perturbation = Perturbation.draw(seed, args.perturb, args.perturb_yaw, contact)
            frames, _, _, success = demonstrate(env, seed, perturbation)
            solved += success
            if not success:
                continue
            fps = float(env.metadata["render_fps"])
            seconds.append(len(frames) / fps)
            state, action = (np.stack([f[key] for f in frames]) for key in ("observation.state", "action"))
            episode = Episode(seed, env.task_description, fps, state, action, NAMES, NAMES)
            events = captioner(episode, segmenter(episode))
            patterns[" ".join(event.label for event in events if event.level == "action")] += 1
        name = contact or "unperturbed"
        print(f"{name}: {solved} of {args.tries} succeed, median {np.median(seconds or [0]):.2f} s recorded")
        for pattern, count in patterns.most_common(4):
            print(f"  {count:>4}  {pattern}")
    env.close()


if __name__ == "__main__":
    main()
