# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`--copy_videos`: files that hold the view's own pictures and no others, bit for bit."""

import av
import numpy as np
import pytest
from lerobot.datasets import dataset_tools as tools
from lerobot.datasets.streaming_dataset import StreamingLeRobotDataset
from tables import load

from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.view.carver import EventCarver
from lerobot_wallwm.processors.view.verify import verify_view


def frames_of(root):
    """Frames in each video file."""
    found = {}
    for path in sorted(root.rglob("*.mp4")):
        with av.open(str(path)) as container:
            found[path.relative_to(root).as_posix()] = sum(1 for _ in container.decode(video=0))
    return found


def encode(path, codec, pix_fmt="yuv420p", **options):
    """Encodes a file anew, in place."""
    new = path.with_suffix(".new.mp4")
    with av.open(str(path)) as old, av.open(str(new), "w") as out:
        stream = out.add_stream(codec, rate=old.streams.video[0].average_rate, options=options)
        stream.width, stream.height, stream.pix_fmt = 32, 32, pix_fmt
        for frame in old.decode(video=0):
            out.mux(stream.encode(frame.reformat(format=pix_fmt)))
        out.mux(stream.encode())
    new.replace(path)


def test_held_out_episodes_are_not_in_the_files_and_the_rest_is_copied_packet_by_packet(
    source, events, tmp_path
):
    EventCarver(copy_videos=True)(source, events, tmp_path / "view", episodes=[0, 2, 3])
    view = load(tmp_path / "view")
    assert (
        set(frames_of(tmp_path / "view").values()) == {len(view)} and len(view) < source.info["total_frames"]
    )
    assert verify_view(source.root, tmp_path / "view", quiet=True).ok
    theirs, ours = (SourceDataset.open(root) for root in (source.root, tmp_path / "view"))
    assert theirs.info["features"][theirs.video_keys[0]] == ours.info["features"][ours.video_keys[0]]
    size = sum(p.stat().st_size for p in source.root.rglob("*.mp4"))
    assert (
        sum(p.stat().st_size for p in (tmp_path / "view").rglob("*.mp4"))
        < size * len(view) / theirs.info["total_frames"] * 1.2
    )


def test_events_that_are_left_out_or_written_twice(source, events, tmp_path):
    """They begin between keyframes, so the camera is encoded anew without loss; LeRobot can cut on from there."""
    own = [e for e in events if e.level == "action"]
    copies = {own[1].event_id: 0, own[3].event_id: 2}
    EventCarver(copy_videos=True)(source, events, tmp_path / "view", copies=copies)
    assert verify_view(source.root, tmp_path / "view", quiet=True).ok
    view = load(tmp_path / "view")
    assert sum(frames_of(tmp_path / "view").values()) == 2 * len(view)
    assert view.meta.features[view.meta.video_keys[0]]["info"]["video.codec"] == "h264"
    tools.delete_episodes(view, [0], output_dir=tmp_path / "less", repo_id="test/less")
    assert verify_view(source.root, tmp_path / "less", frames=False).ok


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "options"),
    [
        ("libx264", "yuv420p", {"g": "250", "bf": "3"}),
        ("libx264", "yuv444p", {"g": "2"}),
        ("libx265", "yuv420p", {"x265-params": "log-level=error"}),
        ("libvpx-vp9", "yuv420p", {"g": "30"}),
        ("libsvtav1", "yuv420p", {"g": "2", "preset": "12"}),
    ],
)
def test_other_codecs_and_long_groups_of_pictures(damaged, events, tmp_path, codec, pix_fmt, options):
    for path in damaged.rglob("*.mp4"):
        encode(path, codec, pix_fmt, **options)
    for name, kind in (("linked", {}), ("copied", {"copy_videos": True})):
        EventCarver(**kind)(SourceDataset.open(damaged), events, tmp_path / name, episodes=[1, 4])
        assert verify_view(damaged, tmp_path / name, quiet=True).ok
    assert set(frames_of(tmp_path / "copied").values()) == {len(load(tmp_path / "copied"))}


def streamed(root, cameras):
    """The pictures that LeRobot's streaming reader gives each row."""
    data = StreamingLeRobotDataset("test/view", root=root, shuffle=False, buffer_size=1, max_num_shards=1)
    return {int(item["index"]): [item[key].numpy() for key in cameras] for item in data}


def test_streaming_shows_the_right_pictures_of_a_copied_view(source, events, tmp_path):
    """LeRobot takes a row's number for its place in the file: right where the file holds the view's rows alone."""
    EventCarver(copy_videos=True)(source, events, tmp_path / "view", episodes=[1, 2, 5])
    view = load(tmp_path / "view")
    found = streamed(tmp_path / "view", view.meta.camera_keys)
    assert len(found) == len(view)
    for index, pictures in found.items():
        item = view[index]
        for key, picture in zip(view.meta.camera_keys, pictures, strict=True):
            np.testing.assert_array_equal(picture, item[key].numpy())
