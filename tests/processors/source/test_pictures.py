# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The decoder of pictures: the right frames, as LeRobot decodes them, at any size, from videos and from rows."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from PIL import Image
from tables import load, rows_file
from tiny_arm import CAMERAS

from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.pictures import pictures
from lerobot_wallwm.storage.errors import DataError


def decoded(source, position, camera, frames=None, **options):
    return np.stack(list(pictures(source, source.meta(position), camera, frames, **options)))


@pytest.mark.parametrize("frames", [[0], [0, 1, 2, 30, 31], [5, 17, 39], [17, 0, 17, 5]])
@pytest.mark.parametrize("position", [0, 3])
def test_frames_are_what_lerobot_loads(source, tiny_dataset, frames, position):
    dataset, start = load(tiny_dataset), source.meta(position)["dataset_from_index"]
    for camera in CAMERAS:
        theirs = np.stack([dataset[start + frame][camera].permute(1, 2, 0).numpy() for frame in frames])
        found = decoded(source, position, camera, frames)
        np.testing.assert_array_equal(found, np.round(theirs * 255).astype(np.uint8))


def test_all_frames_equal_chosen_ones_at_any_size(source):
    for options, shape in (({"width": 12}, (12, 12, 3)), ({"short_side": 48, "gray": True}, (48, 48))):
        every = decoded(source, 4, CAMERAS[0], **options)
        assert every.shape == (source.meta(4)["length"], *shape) and every.dtype == np.uint8
        chosen = [1, 2, 20, len(every) - 1]
        np.testing.assert_array_equal(decoded(source, 4, CAMERAS[0], chosen, **options), every[chosen])


def test_a_frame_past_the_end_and_a_damaged_or_missing_file(source, damaged):
    with pytest.raises(DataError, match="ends before frame 100000"):
        decoded(source, 5, CAMERAS[0], [100_000])
    copy = SourceDataset.open(damaged)
    path = copy.video_path(copy.meta(0), CAMERAS[0])
    whole = path.read_bytes()
    for content in (whole[:3000], b"no video"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"{path.name}.*(damaged|ends before).*Fix: "):
            decoded(copy, 5, CAMERAS[0], [5])
    path.unlink()
    with pytest.raises(DataError, match=f"{path.name}.*missing.*Fix: "):
        decoded(copy, 0, CAMERAS[0], [0])


def test_an_episode_without_one_of_the_cameras(source):
    meta = source.meta(0) | {f"videos/{CAMERAS[0]}/from_timestamp": None}
    assert source.cameras(meta) == [key for key in source.camera_keys if key != CAMERAS[0]]
    with pytest.raises(DataError, match="has no video"):
        next(pictures(source, meta, CAMERAS[0]))


@pytest.fixture
def image_dataset(damaged):
    """The tiny dataset with one camera as pictures in its rows: bytes, a path, or a path that leads outside."""
    table = pq.read_table(rows_file(damaged))
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (1, 2, 3)).save(buffer, "PNG")
    (damaged / "inside.png").write_bytes(buffer.getvalue())
    (damaged.parent / "outside.png").write_bytes(buffer.getvalue())
    values = [{"bytes": buffer.getvalue(), "path": None}, {"bytes": None, "path": "inside.png"}]
    values += [{"bytes": None, "path": "../outside.png"}, {"bytes": b"not a picture", "path": None}]
    values += [values[0]] * (len(table) - 4)
    column = pa.array(values, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    pq.write_table(table.append_column("observation.images.still", column), rows_file(damaged))
    copy = SourceDataset.open(damaged)
    copy.info["features"]["observation.images.still"] = {"dtype": "image", "shape": [30, 40, 3]}
    return copy


def test_pictures_in_rows(image_dataset):
    still = "observation.images.still"
    found = decoded(image_dataset, 0, still, [0, 1], width=20)
    assert found.shape == (2, 15, 20, 3) and (found == (1, 2, 3)).all()
    assert decoded(image_dataset, 0, still, [0], short_side=15, gray=True).shape == (1, 15, 20)
    for frame in (2, 3):
        with pytest.raises(DataError, match=f"frame {frame} cannot be read"):
            decoded(image_dataset, 0, still, [frame])
    with pytest.raises(DataError, match="column is missing"):
        decoded(image_dataset, 0, "observation.images.none", [0])


def test_pictures_that_lerobot_wrote_into_rows(tmp_path):
    joints = {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]}
    picture = {"dtype": "image", "shape": (32, 32, 3), "names": ["height", "width", "channels"]}
    features = {"observation.images.top": picture, "observation.state": joints, "action": joints}
    dataset = LeRobotDataset.create("t/i", 10, features, root=tmp_path / "d", use_videos=False)
    pixels = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), dtype=np.uint8)
    for k, picture in enumerate(pixels):
        motion = np.full(3, k, np.float32)
        frame = {"observation.images.top": picture, "observation.state": motion, "action": motion}
        dataset.add_frame({**frame, "task": "push"})
    dataset.save_episode()
    dataset.finalize()
    found = decoded(SourceDataset.open(tmp_path / "d"), 0, "observation.images.top", [4, 1])
    np.testing.assert_array_equal(found, pixels[[4, 1]])
