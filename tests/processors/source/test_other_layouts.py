# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Datasets that LeRobot lays out otherwise: images in the parquet, many files, more features."""

import numpy as np
import pytest
from synthetic import pick_and_place

from lerobot_wallwm.processors.caption.captioner import EventCaptioner, number_events
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.view.carver import EventCarver
from lerobot_wallwm.processors.view.verify import verify_view


def record(root, *, video: bool, cameras=("top",), **sizes):
    from lerobot.configs.video import RGBEncoderConfig
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    first, _ = pick_and_place(0, 10)
    names = list(first.action_names)
    joints = {"dtype": "float32", "shape": (6,), "names": names}
    camera = {
        "dtype": "video" if video else "image",
        "shape": (32, 32, 3),
        "names": ["height", "width", "channels"],
    }
    dataset = LeRobotDataset.create(
        "test/other",
        fps=10,
        root=root,
        use_videos=video,
        features={
            **{f"observation.images.{name}": camera for name in cameras},
            "observation.state": joints,
            "action": joints,
            "observation.force": {"dtype": "float32", "shape": (1,), "names": None},
            "next.done": {"dtype": "bool", "shape": (1,), "names": None},
        },
        rgb_encoder=RGBEncoderConfig(vcodec="h264", preset="ultrafast") if video else None,
        **sizes,
    )
    rng = np.random.default_rng(0)
    for seed, task in enumerate(
        ("pick up the cup and place it on the plate", "put the pen in the box", "lift the cup")
    ):
        episode, _ = pick_and_place(seed, 10)
        for state, action in zip(episode.state, episode.action, strict=True):
            dataset.add_frame(
                {
                    **{
                        f"observation.images.{name}": rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
                        for name in cameras
                    },
                    "observation.state": state.astype(np.float32),
                    "action": action.astype(np.float32),
                    "observation.force": rng.normal(size=1).astype(np.float32),
                    "next.done": np.array([False]),
                    "task": task,
                }
            )
        dataset.save_episode()
    dataset.finalize()
    return root


@pytest.mark.parametrize(
    ("video", "sizes", "files"),
    [(False, {}, 0), (True, {"video_files_size_in_mb": 0.01, "data_files_size_in_mb": 0.01}, 3)],
)
def test_carves_exactly(tmp_path, video, sizes, files):
    source = SourceDataset.open(record(tmp_path / "source", video=video, **sizes))
    segmenter, captioner = EventSegmenter(), EventCaptioner()
    events = number_events([captioner(episode, segmenter(episode)) for episode in source])
    result = EventCarver()(source, events, tmp_path / "view")
    assert len(list((tmp_path / "view").rglob("*.mp4"))) == files == result.linked
    report = verify_view(source.root, tmp_path / "view", quiet=True)
    assert report.ok and report.frames == report.rows == source.info["total_frames"]
    assert {e.caption for e in events if e.level == "task"} == set(source.tasks)


def test_a_subset_of_many_files_and_cameras_takes_only_the_files_it_needs(tmp_path):
    sizes = {"video_files_size_in_mb": 0.01, "data_files_size_in_mb": 0.01}
    cameras = ("top", "left", "wrist")
    source = SourceDataset.open(record(tmp_path / "source", video=True, cameras=cameras, **sizes))
    assert len(list((source.root / "videos").rglob("*.mp4"))) == 9
    segmenter, captioner = EventSegmenter(), EventCaptioner()
    events = number_events([captioner(episode, segmenter(episode)) for episode in source])
    for copy_videos in (False, True):
        out = tmp_path / f"copy_{copy_videos}"
        result = EventCarver(copy_videos=copy_videos)(source, events, out, episodes=[0, 2])
        assert result.linked == (0 if copy_videos else 6) and result.copied == 6 - result.linked
        wanted = {source.video_path(source.meta(i), key) for i in (0, 2) for key in source.video_keys}
        found = {source.root / path.relative_to(out) for path in out.rglob("*.mp4")}
        assert found == wanted
    report = verify_view(source.root, tmp_path / "copy_True", quiet=True)
    assert report.ok and report.frames == 3 * report.rows > 0
