# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Datasets as LeRobot's writer and people's converters leave them: what `wallwm prepare` makes of each."""

import json
from fractions import Fraction

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot.datasets.io_utils import load_stats
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from tables import change_column, change_info, episodes_file, load, rows_file
from tiny_arm import CAMERAS, JOINT_NAMES, TINY_TASK

from lerobot_wallwm.cli import main
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.view.verify import verify_view

EXTRA = {
    "observation.tactile": {"dtype": "float32", "shape": (4, 4), "names": None},
    "observation.touching": {"dtype": "bool", "shape": (1,), "names": None},
    "note": {"dtype": "string", "shape": (1,), "names": None},
}


def write(root, source, episodes, depth=None, video=True):
    """The tiny demonstrations written again by LeRobot, with features of other kinds."""
    data = load(source)
    kind = "video" if video else "image"
    joints = {"dtype": "float32", "shape": (6,), "names": list(JOINT_NAMES)}
    features = {"observation.state": joints, "action": joints} | EXTRA
    features[CAMERAS[0]] = {"dtype": kind, "shape": (32, 32, 3), "names": ["height", "width", "channels"]}
    if depth:
        shape = {
            "shape": (32, 32, 1),
            "names": ["height", "width", "channels"],
            "info": {"is_depth_map": True},
        }
        features[depth] = {"dtype": kind} | shape
    new = LeRobotDataset.create("test/kinds", fps=data.fps, features=features, root=root, use_videos=video)
    for episode in range(episodes):
        row = data.meta.episodes[episode]
        for i in range(row["dataset_from_index"], row["dataset_to_index"]):
            item = data[i]
            frame = {key: item[key].numpy() for key in ("observation.state", "action")}
            frame |= {
                "observation.tactile": np.full((4, 4), i / 10, np.float32) + np.arange(4, dtype=np.float32)
            }
            frame |= {"observation.touching": np.array([i % 3 == 0]), "note": f"frame {i}", "task": TINY_TASK}
            frame[CAMERAS[0]] = (item[CAMERAS[0]].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
            if depth:
                frame[depth] = np.full((32, 32, 1), 400 + i, np.uint16)
            new.add_frame(frame)
        new.save_episode()
    new.finalize()
    return root


def prepare(root, out, *flags):
    return main(["prepare", f"--dataset.root={root}", f"--out.root={out}", "--quiet=true", *flags])


@pytest.mark.parametrize("video", [True, False])
def test_two_dimensions_flags_words_and_depth_go_into_the_view(
    tiny_dataset, tmp_path, capsys, video, make_config
):
    depth = "observation.images.depth"
    root = write(tmp_path / "kinds", tiny_dataset, 2, depth, video)
    assert prepare(root, tmp_path / "out", "--heldout=0") == 0
    assert f"{depth}: shows distances" in capsys.readouterr().out
    view = tmp_path / "out" / "train"
    report = verify_view(root, view, quiet=True)
    assert report.ok and report.statistics > 0, report
    source, carved = load_stats(root), load_stats(view)
    for key in source:
        for name in source[key]:
            assert carved[key][name].shape == source[key][name].shape, (key, name)
    assert carved["observation.tactile"]["mean"].shape == (4,)
    for name in ("min", "max", "mean", "std"):
        for key in ("observation.tactile", "observation.touching", "action"):
            np.testing.assert_allclose(carved[key][name], source[key][name], rtol=1e-3, atol=1e-2)
    item = load(view)[3]
    assert item["note"] == "frame 3" and item[depth].shape == (1, 32, 32)
    # A wallwm policy says that it leaves the depth out, before its first batch.
    from lerobot_wallwm.policies.assembly.learned import learn

    config = make_config(cameras=[CAMERAS[0], depth])
    config.input_features[depth].shape = (1, 32, 32)
    learn(config, None, load(view).meta)
    assert list(config.image_features) == [CAMERAS[0]] == config.learned.camera_rows


def test_balancing_leaves_depth_alone(tiny_dataset, tmp_path, capsys):
    root = write(tmp_path / "kinds", tiny_dataset, 2, "observation.images.depth")
    assert prepare(root, tmp_path / "out", "--heldout=0", "--balance=true") == 0, capsys.readouterr().err


def test_no_statistics_of_pictures_and_no_names(damaged, tmp_path, capsys):
    file = damaged / "meta" / "stats.json"
    stats = json.loads(file.read_text())
    theirs = {key: stats.pop(key) for key in CAMERAS}
    file.write_text(json.dumps(stats))
    table = pq.read_table(episodes_file(damaged))
    pq.write_table(
        table.drop_columns([n for n in table.column_names if "stats/observation.images" in n]),
        episodes_file(damaged),
    )
    change_info(
        damaged,
        lambda info: [info["features"][key].update(names=None) for key in ("action", "observation.state")],
    )
    assert prepare(damaged, tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert "measured from some pictures" in out and "numbered from 0" in out
    found = load_stats(tmp_path / "out" / "train")
    for key, known in theirs.items():
        for name in ("mean", "std"):
            assert found[key][name].shape == (3, 1, 1)
            np.testing.assert_allclose(found[key][name], known[name], atol=0.05)
    assert verify_view(damaged, tmp_path / "out" / "train", frames=False).ok


def two_files(root):
    """Rolls over to a second data file after the third episode, as LeRobot's writer does it."""
    table = pq.read_table(rows_file(root))
    later = pa.compute.greater_equal(table["episode_index"], 3)
    pq.write_table(table.filter(pa.compute.invert(later)), rows_file(root))
    pq.write_table(table.filter(later), rows_file(root).with_name("file-001.parquet"))
    # Its first episode still points to the file before.
    change_column(episodes_file(root), "data/file_index", lambda files: [0, 0, 0, 0, 1, 1])


def test_an_episode_whose_metadata_names_the_file_before_is_found(damaged, tmp_path, capsys):
    whole = SourceDataset.open(damaged).read(3)
    two_files(damaged)
    np.testing.assert_array_equal(SourceDataset.open(damaged).read(3).action, whole.action)
    assert len(load(damaged)) == SourceDataset.open(damaged).info["total_frames"]  # LeRobot finds it
    assert prepare(damaged, tmp_path / "out", "--heldout=0") == 0
    assert "left out" not in capsys.readouterr().out
    assert verify_view(damaged, tmp_path / "out" / "train", quiet=True).ok
    rows = pq.read_table(rows_file(tmp_path / "out" / "train"))
    assert len(rows) == SourceDataset.open(damaged).info["total_frames"]


def test_episodes_of_a_file_without_an_end_are_named(damaged, tmp_path, capsys):
    first = episodes_file(damaged)
    table = pq.read_table(first)
    second = first.with_name("file-001.parquet")
    pq.write_table(table.slice(0, 4), first)
    pq.write_table(table.slice(4), second)
    second.write_bytes(second.read_bytes()[: second.stat().st_size // 2])
    assert prepare(damaged, tmp_path / "out", "--heldout=0") == 0
    out = capsys.readouterr().out
    assert "file-001.parquet is left out" in out and "does not describe them: [4, 5]" in out
    assert set(
        SourceDataset.open(tmp_path / "out" / "train").episodes["wallwm/source_episode"].to_pylist()
    ) == {0, 1, 2, 3}
    first.write_bytes(b"PAR1")
    assert prepare(damaged, tmp_path / "none") == 2
    assert first.name in capsys.readouterr().err


def test_a_data_file_without_an_end_changes_nothing_but_its_own_episodes(damaged, tmp_path, capsys):
    """It took the units of all joints with it: without any rows to look at, a gripper in percent was one in nothing."""
    whole = SourceDataset.open(damaged)
    rows = rows_file(damaged)
    rows.with_name("file-001.parquet").write_bytes(rows.read_bytes()[:-100])
    assert SourceDataset.open(damaged).embodiment == whole.embodiment
    assert prepare(damaged, tmp_path / "out", "--heldout=0") == 0
    words = [
        "verify",
        f"--source.root={damaged}",
        f"--view.root={tmp_path / 'out' / 'train'}",
        "--quiet=true",
    ]
    assert main(words) == 2  # LeRobot loads all files of a dataset, or none
    err = capsys.readouterr().err.splitlines()[-1]
    assert "LeRobot cannot load it" in err and "Fix:" in err and main([*words, "--frames=false"]) == 0
    rows.write_bytes(rows.read_bytes()[:-100])
    assert prepare(damaged, tmp_path / "none") == 2
    assert "no episode is usable" in (err := capsys.readouterr().err) and "Fix: mend that" in err


def test_one_episode_has_no_held_out_view_and_is_told_why(tiny_dataset, tmp_path, capsys):
    root = write(tmp_path / "one", tiny_dataset, 1)
    assert prepare(root, tmp_path / "out") == 0
    assert "there is no heldout/: one episode is left" in capsys.readouterr().out
    assert not (tmp_path / "out" / "heldout").exists()


def encode(path, codec, start=0):
    """Encodes a file anew; its first picture is at frame `start`."""
    new = path.with_suffix(".new.mp4")
    with av.open(str(path)) as old, av.open(str(new), "w") as out:
        stream = out.add_stream(codec, rate=10, options={"g": "2"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for i, frame in enumerate(old.decode(video=0)):
            frame.pts, frame.time_base = i + start, Fraction(1, 10)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    new.replace(path)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "libvpx-vp9"])
def test_the_decoder_of_training_is_asked(damaged, tmp_path, capsys, codec):
    video = next(path for path in damaged.rglob("*.mp4") if CAMERAS[0] in str(path))
    encode(video, codec)
    assert prepare(damaged, tmp_path / "out") == 0
    load(tmp_path / "out" / "train")[5]
    # We find a picture by its time; LeRobot counts frames from the file's first.
    encode(video, codec, start=4)
    for end in ("from", "to"):
        change_column(
            episodes_file(damaged), f"videos/{CAMERAS[0]}/{end}_timestamp", lambda at: [t + 0.4 for t in at]
        )
    with pytest.raises(Exception, match="(?i)tolerance"):
        load(damaged)[5]
    assert prepare(damaged, tmp_path / "late") == 2
    err = capsys.readouterr().err
    assert (
        video.name in err
        and "LeRobot's decoder, which training uses" in err
        and "Fix: encode the videos anew" in err
    )
    assert not (tmp_path / "late").exists()
