# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Room that is held for a recording: really on the disk, without a name, and back when the disk is full."""

from __future__ import annotations

import errno
import gc
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lerobot_wallwm.policies.safety.ballast import Ballast

SIZE = 6_000_000

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot hold room")


def soon(condition) -> bool:
    """Whether something comes about within ten seconds."""
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "wallwm-ballast"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    gc.collect()
    assert soon(lambda: not threads())


def test_it_is_on_the_disk_and_has_no_name(tmp_path):
    ballast = Ballast(tmp_path, SIZE)
    assert soon(lambda: ballast.held >= SIZE)
    assert not list(tmp_path.iterdir()) and not ballast.let_go
    for _ in range(2):
        ballast.drop()
        assert ballast.held == 0 and ballast.let_go


def test_it_is_given_back_when_nobody_refers_to_it(tmp_path):
    holder = [Ballast(tmp_path, SIZE)]
    assert soon(lambda: holder[0].held >= SIZE) and threads()
    holder.clear()  # the fixture sees its thread end


@pytest.mark.skipif(not hasattr(os, "fork") or not Path("/proc/self/fd").exists(), reason="needs Linux")
def test_a_process_that_was_forked_meanwhile_keeps_nothing(tmp_path):
    """LeRobot forks its writers of images, and they have all files open that it has."""
    ballast = Ballast(tmp_path, SIZE)
    assert soon(lambda: ballast.held >= SIZE)
    targets = {fd: os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()}
    (number,) = (int(fd.name) for fd, target in targets.items() if str(tmp_path) in target)
    others = os.dup(number)
    ballast.drop()
    assert os.fstat(others).st_blocks == 0
    os.close(others)


def test_it_is_given_back_when_the_disk_is_full(tmp_path, monkeypatch, caplog):
    free = SimpleNamespace(f_bavail=10**6, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda path: free)
    ballast = Ballast(tmp_path, SIZE)
    assert soon(lambda: ballast.held >= SIZE)
    time.sleep(0.1)
    assert not ballast.let_go
    free.f_bavail = 2
    assert soon(lambda: ballast.let_go) and ballast.held == 0
    assert "6 MB are given back" in caplog.text


def test_room_that_cannot_be_had_is_said(tmp_path, monkeypatch, caplog):
    def quota(*args):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "posix_fallocate", quota)
    ballast = Ballast(tmp_path, SIZE)
    assert soon(lambda: ballast.let_go) and ballast.held == 0
    assert "No room can be held" in caplog.text and str(tmp_path) in caplog.text


def test_a_system_without_the_call_holds_nothing(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate")
    ballast = Ballast(tmp_path, SIZE)
    ballast.drop()
    assert ballast.let_go and not threads()


def test_a_disk_that_another_program_fills_at_once_has_room_again(mount_disk):
    disk = mount_disk(20_000_000)
    ballast = Ballast(disk, SIZE)
    assert soon(lambda: ballast.held >= SIZE)
    with (disk / "other").open("wb", buffering=0) as file:
        wrote = file.write(b"\0" * 40_000_000)  # a short write: it takes all there is
    assert 10_000_000 < wrote <= 14_100_000
    assert soon(lambda: ballast.let_go)
    assert soon(lambda: not threads())
    (disk / "recording").write_bytes(b"\0" * (SIZE - 100_000))
