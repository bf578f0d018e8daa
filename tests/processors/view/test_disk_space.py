# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A disk that is too small: said before anything is written; and a disk that fills up all the same leaves nothing behind."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections import namedtuple

import pytest
from tables import contents

from lerobot_wallwm.cli import main
from lerobot_wallwm.processors.source.episodes import SourceDataset, split_episodes
from lerobot_wallwm.processors.view import writer as view_writer
from lerobot_wallwm.processors.view.disk_space import check_space, needed_space
from lerobot_wallwm.storage.errors import DataError

Usage = namedtuple("Usage", "total used free")


def run(capsys, source, out, *flags):
    code = main(["prepare", f"--dataset.root={source}", f"--out.root={out}", "--quiet=true", *flags])
    return code, capsys.readouterr().err


def written(root):
    return sum(p.lstat().st_size for p in root.rglob("*") if p.is_file() and p.suffix != ".mp4")


def no_links(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)


def test_ten_gigabytes_do_not_fit_into_one(tmp_path):
    with pytest.raises(DataError) as caught, pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 1_000_000_000))
        check_space(100_000_000, 10_000_000_000, tmp_path / "out")
    sizes = ("1.0 GB", "10.1 GB", "10.0 GB of videos, which cannot be hard-linked")
    for text in (*sizes, "Fix: ", str(tmp_path)):
        assert text in str(caught.value)


def test_the_estimate_bounds_what_is_written(capsys, tiny_dataset, tmp_path):
    assert run(capsys, tiny_dataset, tmp_path / "out", "--level=segment")[0] == 0
    source = SourceDataset.open(tiny_dataset)
    splits = split_episodes(source.episode_indices, 0.1, 0)
    tables, videos = needed_space(source, tmp_path, splits)
    size = written(tmp_path / "out")
    assert videos == 0 and size <= tables < 50 * size


def test_videos_count_only_where_they_must_be_copied(capsys, tiny_dataset, tmp_path, monkeypatch):
    videos = sum(p.stat().st_size for p in (tiny_dataset / "videos").rglob("*.mp4"))
    source = SourceDataset.open(tiny_dataset)
    rows = needed_space(source, tmp_path, [source.episode_indices])[0]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, rows + videos // 2))
    assert run(capsys, tiny_dataset, tmp_path / "a" / "out", "--heldout=0")[0] == 0
    no_links(monkeypatch)
    code, err = run(capsys, tiny_dataset, tmp_path / "b" / "out", "--heldout=0")
    assert code == 2 and "cannot be hard-linked there" in err and err.count("\n") == 1
    assert list((tmp_path / "b").iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, rows + videos))
    assert run(capsys, tiny_dataset, tmp_path / "b" / "out", "--heldout=0")[0] == 0


def test_a_full_disk_is_said_before_anything_is_written(capsys, tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 1000))
    code, err = run(capsys, tiny_dataset, tmp_path / "out")
    assert code == 2 and "free space: is 1.0 kB" in err and "nothing was written" in err
    assert list(tmp_path.iterdir()) == []


def limited(source, out, limit):
    """`wallwm prepare` in a process of which no file may grow beyond `limit` bytes: writing ends with EFBIG."""
    command = [sys.executable, "-m", "lerobot_wallwm.cli", "prepare", f"--dataset.root={source}"]

    def limit_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command += [f"--out.root={out}", "--quiet=true"]
    return subprocess.run(command, capture_output=True, text=True, preexec_fn=limit_files)


def test_room_that_runs_out_in_the_middle_leaves_nothing(tiny_dataset, tmp_path):
    done = limited(tiny_dataset, tmp_path / "out", 6000)
    assert done.returncode == 2, done.stderr
    assert "ran out while writing" in done.stderr and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_room_that_runs_out_keeps_the_old_output(capsys, tiny_dataset, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert run(capsys, tiny_dataset, out)[0] == 0
    before = contents(out)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(view_writer.shutil, "copyfile", full)
    no_links(monkeypatch)
    code, err = run(capsys, tiny_dataset, out, "--overwrite=true")
    assert code == 2 and "No space left on device" in err
    assert contents(out) == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_real_small_disk(capsys, tiny_dataset, mount_disk, monkeypatch):
    small_disk = mount_disk(300 * 1024)
    code, err = run(capsys, tiny_dataset, small_disk / "out")
    assert code == 2 and "free space: is " in err and "cannot be hard-linked there" in err
    assert list(small_disk.iterdir()) == []
    # And if the estimate were wrong:
    monkeypatch.setattr("lerobot_wallwm.processors.prepare.prepare.check_space", lambda *args: None)
    monkeypatch.setattr("lerobot_wallwm.processors.view.carver.check_space", lambda *args: None)
    (small_disk / "ballast").write_bytes(bytes(270_000))
    code, err = run(capsys, tiny_dataset, small_disk / "out")
    assert code == 2 and "No space left on device" in err, err
    assert [p.name for p in small_disk.iterdir()] == ["ballast"]
