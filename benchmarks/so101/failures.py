# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What failures look like: a strip of pictures of one scene for each phase that failed.

Reads the progress log of an evaluation, plays scenes that failed again one by one by the unmodified lerobot-eval, and draws
them below each other, from the first moment to the last. A scene that comes out otherwise alone than among others is passed over.

    python -m benchmarks so101 failures --policy=CHECKPOINT --log=outputs/.../progress.jsonl
"""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

from so101_demo.collect import read_progress_log
from so101_demo.commands import CommandError
from so101_demo.moving_picture import film

from benchmarks.harness.rows import CannotRunError, Row
from benchmarks.so101.bench import MILESTONES, evaluate, first_failing_phase

# Moments of a strip, pixels of each, and scenes that are tried for each phase.
MOMENTS, SIDE, TRIES = 10, 160, 3


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--policy", type=Path, help="the checkpoint that was evaluated, a folder")
    parser.add_argument("--log", type=Path, help="progress.jsonl of its evaluation")
    parser.add_argument("--split", default="seen", help="of that evaluation")


def rows(args: Namespace) -> Iterator[Row]:
    if args.policy is None or args.log is None:
        raise CannotRunError(
            "--policy=FOLDER and --log=FILE are needed: a checkpoint, and what it was seen to do"
        )
    failed = [e for e in read_progress_log(args.log) if not e["success"]]
    strips = {}
    for phase in MILESTONES:
        scenes = [e["seed"] for e in failed if first_failing_phase(e) == phase]
        found = next((f for seed in scenes[:TRIES] if (f := again(args, seed, phase))), None)
        if found:
            strips[f"not {phase}"] = found
        told = {"phase that failed": phase, "scenes": len(scenes), "played again": bool(found)}
        yield Row("failures", told)
    if strips:
        yield Row("picture", {"file": str(draw(strips, args.out / "failures.png"))})


def again(args: Namespace, seed: int, phase: str) -> Path | None:
    """A video of that scene, if it fails at that phase again."""
    out = args.out / f"{args.split}-{seed}"
    log = out / "progress.jsonl"
    if not log.exists():
        more = ("--policy.on_plan_end=repeat",)
        try:
            evaluate(args.policy, args.split, 1, out, out / "log", print, seed=seed, more=more)
        except CommandError as error:
            raise CannotRunError(str(error)) from error
    played = json.loads(log.read_text().splitlines()[0])
    videos = sorted(out.rglob("*.mp4"))
    return videos[0] if videos and first_failing_phase(played) == phase else None


def draw(strips: dict[str, Path], path: Path) -> Path:
    """One strip below the other, each with its name."""
    from PIL import Image, ImageDraw, ImageFont

    sheet = Image.new("RGB", (MOMENTS * SIDE, len(strips) * (SIDE + 22)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    for row, (name, video) in enumerate(strips.items()):
        top = row * (SIDE + 22)
        pen.text((4, top + 1), name, fill="black", font=font)
        for column, picture in enumerate(film(video, MOMENTS)):
            sheet.paste(picture.resize((SIDE, SIDE)), (column * SIDE, top + 22))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
    return path
