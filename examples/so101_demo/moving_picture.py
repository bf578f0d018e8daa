# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The README's moving picture, from what a demo left: a demonstration cut at events, imagined beside seen, the arm acting.

python examples/so101_demo/moving_picture.py [--demo outputs/demo] [--out docs/assets/wallwm.gif]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "examples"))

from so101_demo.collect import load_open_loop, load_rollouts  # noqa: E402
from so101_demo.run import DATASET  # noqa: E402

SIDE, GAP, HEAD, FOOT = 232, 14, 26, 52
FPS = 8
SECONDS = 9.0
PAPER, INK, QUIET = (250, 250, 248), (30, 30, 34), (120, 120, 126)
COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2", "#edc948", "#9c755f", "#ff9da7")


def font(size: int) -> ImageFont.FreeTypeFont:
    """matplotlib brings its own fonts, so that the picture looks the same everywhere."""
    from matplotlib import font_manager

    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)


def demonstration(events_file: Path, dataset: Path) -> tuple[list[Image.Image], list[dict]]:
    """Frames of the first demonstration's first camera, and its action events."""
    import pyarrow.parquet as pq
    from lerobot.datasets import LeRobotDataset

    rows = [row for row in pq.read_table(events_file).to_pylist() if row["level"] == "action"]
    first = min(row["episode_index"] for row in rows)
    rows = [row for row in rows if row["episode_index"] == first]
    data = LeRobotDataset(f"local/{dataset.name}", root=dataset)
    start = int(data.meta.episodes["dataset_from_index"][first])
    key = data.meta.camera_keys[0]
    shown = np.linspace(0, rows[-1]["end"] - 1, round(FPS * SECONDS)).astype(int)
    frames = []
    for index in shown:
        image = data[start + int(index)][key].permute(1, 2, 0).numpy()
        frames.append(Image.fromarray((image * 255).round().astype(np.uint8)).resize((SIDE, SIDE)))
    return frames, [
        row | {"shown": [r for r in range(len(shown)) if row["start"] <= shown[r] < row["end"]]}
        for row in rows
    ]


def film(video: Path, count: int) -> list[Image.Image]:
    """``count`` frames spread over a video, as squares."""
    import av

    with av.open(str(video)) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
    return [frames[i].resize((SIDE, SIDE)) for i in np.linspace(0, len(frames) - 1, count).astype(int)]


def imagined_beside_seen(path: Path) -> tuple[list[tuple[Image.Image, Image.Image]], list[str]]:
    """Clips of held-out events one after the other: (seen, imagined) and the caption of each frame."""
    _, _, clips = load_open_loop(path)
    pairs, captions = [], []
    for i, caption in enumerate(clips.captions):
        for t in np.flatnonzero(clips.valid[i]):
            seen, imagined = (
                Image.fromarray(video[i, 0, t]).resize((SIDE // 2, SIDE // 2))
                for video in (clips.real, clips.imagined)
            )
            pairs.append((seen, imagined))
            captions.append(caption)
    return pairs, captions


def pictures(demo: Path, dataset: Path) -> Iterator[Image.Image]:
    """The frames of the moving picture."""
    seen, events = demonstration(demo / "events/events.parquet", dataset)
    pairs, captions = imagined_beside_seen(demo / "open_loop")
    count = len(seen)
    rollouts = load_rollouts(demo / "rollouts", demo / "rollouts/progress.jsonl")
    best = max(rollouts, key=lambda rollout: rollout.log["task_progress"])
    acting = film(best.video, count)
    small, large = font(11), font(13)
    columns = [GAP + i * (SIDE + GAP) for i in range(3)]
    for t in range(count):
        page = Image.new("RGB", (columns[-1] + SIDE + GAP, HEAD + SIDE + FOOT), PAPER)
        draw = ImageDraw.Draw(page)
        for x, title in zip(
            columns,
            ("a demonstration, cut at events", "held out: seen | imagined", "the policy acting"),
            strict=True,
        ):
            draw.text((x, 6), title, INK, large)
        page.paste(seen[t], (columns[0], HEAD))
        for i, event in enumerate(events):
            if not event["shown"]:
                continue
            left, right = (columns[0] + SIDE * e / count for e in (event["shown"][0], event["shown"][-1] + 1))
            now = t in event["shown"]
            top = HEAD + SIDE + (4 if now else 8)
            draw.rectangle((left, top, right - 2, HEAD + SIDE + 16), COLOURS[i % len(COLOURS)])
            if now:
                draw.text((columns[0], HEAD + SIDE + 22), event["caption"], COLOURS[i % len(COLOURS)], large)
        k = t * len(pairs) // count
        for j, picture in enumerate(pairs[k]):
            page.paste(picture, (columns[1] + j * (SIDE // 2 + 1), HEAD + SIDE // 4))
        draw.text((columns[1], HEAD + SIDE + 22), captions[k], QUIET, small)
        page.paste(acting[t], (columns[2], HEAD))
        what = "success" if best.log["success"] else f"Task Progress {best.log['task_progress']:.0f} of 100"
        draw.text((columns[2], HEAD + SIDE + 22), f"simulated SO-101: {what}", QUIET, small)
        yield page


def main() -> int:
    """Returns 2 where the demo has not run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demo", type=Path, default=REPO / "outputs/demo", help="what `make demo` left")
    parser.add_argument("--dataset", type=Path, default=DATASET, help="the demonstrations that it was given")
    parser.add_argument("--out", type=Path, default=REPO / "docs/assets/wallwm.gif")
    arguments = parser.parse_args()
    if not (arguments.demo / "rollouts/progress.jsonl").is_file():
        print(
            f"error: {arguments.demo} holds no finished demo with rollouts. Fix: make demo", file=sys.stderr
        )
        return 2
    frames = [
        page.quantize(96, dither=Image.Dither.NONE) for page in pictures(arguments.demo, arguments.dataset)
    ]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(
        arguments.out,
        save_all=True,
        append_images=frames[1:],
        duration=round(1000 / FPS),
        loop=0,
        optimize=True,
    )
    print(f"{arguments.out} ({arguments.out.stat().st_size / 1e6:.1f} MB, {len(frames)} frames)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
