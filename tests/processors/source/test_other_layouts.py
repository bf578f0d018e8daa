# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Datasets that LeRobot lays out otherwise: images in the parquet, many files, more features."""

import pytest
from synthetic import record
from tables import annotated

from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.view.carver import EventCarver
from lerobot_wallwm.processors.view.verify import verify_view

MANY_FILES = {"video_files_size_in_mb": 0.01, "data_files_size_in_mb": 0.01}


@pytest.mark.parametrize(("video", "sizes", "files"), [(False, {}, 0), (True, MANY_FILES, 3)])
def test_carves_exactly(tmp_path, video, sizes, files):
    source = SourceDataset.open(record(tmp_path / "source", video=video, **sizes))
    events = annotated(source)
    result = EventCarver()(source, events, tmp_path / "view")
    assert len(list((tmp_path / "view").rglob("*.mp4"))) == files == result.videos_linked
    report = verify_view(source.root, tmp_path / "view", quiet=True)
    assert report.ok and report.frames == report.rows == source.info["total_frames"]
    assert {e.caption for e in events if e.level == "task"} == set(source.tasks)


def test_a_subset_of_many_files_and_cameras_takes_only_the_files_it_needs(tmp_path):
    cameras = ("top", "left", "wrist")
    source = SourceDataset.open(record(tmp_path / "source", video=True, cameras=cameras, **MANY_FILES))
    assert len(list((source.root / "videos").rglob("*.mp4"))) == 9
    events = annotated(source)
    for copy_videos in (False, True):
        out = tmp_path / f"copy_{copy_videos}"
        result = EventCarver(copy_videos=copy_videos)(source, events, out, episodes=[0, 2])
        assert (
            result.videos_linked == (0 if copy_videos else 6)
            and result.videos_copied == 6 - result.videos_linked
        )
        wanted = {source.video_path(source.meta(i), key) for i in (0, 2) for key in source.video_keys}
        found = {source.root / path.relative_to(out) for path in out.rglob("*.mp4")}
        assert found == wanted
    report = verify_view(source.root, tmp_path / "copy_True", quiet=True)
    assert report.ok and report.frames == 3 * report.rows > 0
