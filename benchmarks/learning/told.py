# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a checkpoint does when told the instruction, the event's own caption, another, nothing, or its own latents.

Errors of the actions over the rest of held-out events, and of the next chunk where the checkpoint acts in chunks (dataset units).
The event's own caption is the oracle: if it is no better than the instruction and than another caption, the policy ignores
language, and nothing that language could say is worth anything. Latents are worth the share that they close of the gap from
the instruction to the oracle; latents of another observation are their control.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness.rows import CannotRunError, Row, Spread

QUICK = {"observations": 6}


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--checkpoints", type=Path, nargs="+", default=[])
    parser.add_argument("--heldout", type=Path, help="a view that `wallwm prepare` held out")
    parser.add_argument("--observations", type=int, default=240)


def rows(args: Namespace) -> Iterator[Row]:
    if not args.checkpoints or args.heldout is None:
        raise CannotRunError("nothing to measure. Fix: --checkpoints=<folder ...> --heldout=<view>")
    for path in args.checkpoints:
        errors = told(path, args.heldout, args.observations)
        gap = np.mean(errors["the instruction"]) - np.mean(errors["its caption"])
        for name, values in errors.items():
            resampled = [np.random.default_rng(i).choice(values, len(values)).mean() for i in range(400)]
            closed = (np.mean(errors["the instruction"]) - np.mean(values)) / gap if gap > 0 else float("nan")
            cells = {"told": name, "error": Spread.of(resampled), "share of the gap": float(closed)}
            yield Row(f"{path}: {len(values)} held-out observations", cells)


def told(path: Path, heldout: Path, observations: int) -> dict[str, np.ndarray]:
    """Mean absolute error of each observation's actions, by what the policy was told."""
    from lerobot.datasets import LeRobotDatasetMetadata

    from lerobot_wallwm.check.measure.checkpoint import Checkpoint
    from lerobot_wallwm.check.measure.observations import load_observations
    from lerobot_wallwm.check.measure.views import open_view, read_event_rows, spread_anchors, thin
    from lerobot_wallwm.policies.model import sampling

    checkpoint = Checkpoint(path, meta=LeRobotDatasetMetadata("local/heldout", root=heldout))
    policy, config = checkpoint.policy, checkpoint.config
    model, space = policy.model, policy.action_space
    events = read_event_rows(heldout)
    seen = load_observations(
        checkpoint, open_view(heldout, config), events, thin(spread_anchors(events, 2), observations)
    )
    known = sorted(set(seen.captions))
    found: dict[str, list[np.ndarray]] = {}
    done = 0
    for batch in map(seen.batch, seen.parts):
        windows = policy.windows_from_batch(batch)
        count = len(windows.captions)
        true, valid = seen.true[done : done + count], seen.valid[done : done + count]
        done += count
        others = [
            known[(known.index(caption) + 1 + i) % len(known)] for i, caption in enumerate(windows.captions)
        ]
        others = [
            known[(known.index(o) + 1) % len(known)] if o == c else o
            for o, c in zip(others, windows.captions, strict=True)
        ]
        instructions = windows.instructions or windows.captions
        ways: dict[str, Any] = {
            "its caption": windows.captions,
            "the instruction": instructions,
            "another caption": others,
            "nothing": [""] * count,
        }
        look = windows.keyframes, windows.state
        with torch.no_grad():
            if config.latents:
                ways["its latents"] = model.decode_latents(instructions, *look, windows.view_ids)
                ways["another's latents"] = ways["its latents"].roll(1, 0)
            for name, text in ways.items():
                plan = sampling.plan(
                    model,
                    *look,
                    text,
                    windows.here,
                    num_steps=config.num_inference_steps,
                    generator=torch.Generator().manual_seed(0),
                    length=torch.full((count,), config.horizon),
                    view_ids=windows.view_ids,
                    chunk=windows.chunk,
                )
                state = batch["observation.state"]
                state = state[:, checkpoint.now] if state.ndim == 3 else state
                actions = (
                    checkpoint.postprocess(space.decode_actions(plan.actions.float(), state)).cpu().numpy()
                )
                off = np.abs(actions - true).mean(-1)
                found.setdefault(name, []).append((off * valid).sum(1) / valid.sum(1).clip(1))
    return {name: np.concatenate(parts) for name, parts in found.items()}
