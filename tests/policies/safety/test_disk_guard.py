# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Room for the recording: which disk is watched, and that a run ends before it is full."""

from __future__ import annotations

import copy
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from lerobot.utils.constants import HF_LEROBOT_HOME

from lerobot_wallwm.policies.safety.disk_guard import DiskGuard, recorded_to
from lerobot_wallwm.policies.safety.interventions import SafetyError

Usage = namedtuple("Usage", "total used free")


class Disk:
    """A disk whose free room is what a test says, and a clock."""

    def __init__(self, monkeypatch):
        self.free_mb, self.now, self.asked = 1000.0, 0.0, []
        monkeypatch.setattr(shutil, "disk_usage", self._usage)

    def _usage(self, path):
        self.asked.append(Path(path))
        return Usage(10**10, 0, int(self.free_mb * 10**6))


class Held:
    """Ballast of a test's making."""

    def __init__(self, folder, size):
        self.folder, self.size, self.held, self.let_go = folder, size, size, False

    def drop(self):
        self.held, self.let_go = 0, True


@pytest.fixture
def disk(monkeypatch):
    monkeypatch.setattr("lerobot_wallwm.policies.safety.disk_guard.Ballast", Held)
    return Disk(monkeypatch)


def test_where_a_command_records_to(tmp_path):
    assert recorded_to(["lerobot-rollout", f"--dataset.root={tmp_path}"]) == tmp_path
    assert recorded_to(["lerobot-rollout", "--dataset.root", str(tmp_path), "--fps=30"]) == tmp_path
    assert recorded_to(["lerobot-rollout", "--dataset.repo_id=me/x"]) == Path(HF_LEROBOT_HOME)
    assert recorded_to(["lerobot-rollout", "--config_path=a.yaml"]) == Path(HF_LEROBOT_HOME)
    assert recorded_to(["lerobot-rollout", "--dataset.root"]) == Path(HF_LEROBOT_HOME)
    assert recorded_to(["lerobot-rollout", "--task=lift it"]) is None


def test_it_ends_below_the_reserve_and_looks_once_a_second(disk, tmp_path):
    guard = DiskGuard(500.0, str(tmp_path / "not" / "there yet"), lambda: disk.now)
    guard.check()
    disk.free_mb = 249.0  # beside the 250 that are held
    disk.now = 0.9
    guard.check()
    assert disk.asked == [tmp_path]
    disk.now = 1.0
    for _ in range(2):  # LeRobot's RTC mode asks again
        with pytest.raises(
            SafetyError, match=r"has \d+ MB left, less than --policy.disk_reserve_mb=500.*Fix: "
        ):
            guard.check()


def test_half_of_the_reserve_is_held_and_counts_as_room(disk, tmp_path):
    guard = DiskGuard(500.0, str(tmp_path / "not there yet"), lambda: disk.now)
    guard.check()
    ballast = guard.ballast
    assert (ballast.folder, ballast.size) == (tmp_path, 250_000_000)
    disk.now, disk.free_mb = 1.0, 251.0
    guard.check()
    disk.now, disk.free_mb = 2.0, 249.0
    with pytest.raises(SafetyError, match="has 499 MB left"):
        guard.check()
    assert ballast.let_go  # what LeRobot finishes the recording with


def test_room_that_was_given_back_ends_the_run_before_the_second_is_over(disk, tmp_path):
    guard = DiskGuard(500.0, str(tmp_path), lambda: disk.now)
    guard.check()
    guard.ballast.drop()
    disk.now, disk.free_mb = 0.1, 250.0
    for _ in range(2):
        with pytest.raises(SafetyError, match="has 250 MB left"):
            guard.check()


def test_room_that_could_not_be_held_does_not_end_a_run(disk, tmp_path):
    guard = DiskGuard(500.0, str(tmp_path), lambda: disk.now)
    guard.check()
    guard.ballast.drop()
    for _ in range(3):
        guard.check()
    assert len(disk.asked) == 2  # looked again at once, and then only every second


def test_what_is_not_watched(disk, tmp_path, monkeypatch):
    disk.free_mb = 0.0
    DiskGuard(0.0, str(tmp_path), lambda: disk.now).check()
    monkeypatch.setattr("sys.argv", ["lerobot-rollout", "--task=lift it"])
    DiskGuard(500.0, None, lambda: disk.now).check()
    assert not disk.asked


def test_a_disk_that_cannot_be_seen_stops_no_arm(monkeypatch, tmp_path, caplog):
    def gone(path):
        raise OSError("gone")

    monkeypatch.setattr(shutil, "disk_usage", gone)
    guard = DiskGuard(500.0, str(tmp_path), lambda: 0.0)
    guard.check()
    guard.check()
    assert caplog.text.count("nobody watches it") == 1


def test_a_copy_holds_room_of_its_own(tmp_path):
    """Policies are copied; a thread cannot be."""
    guard = DiskGuard(2.0, str(tmp_path), lambda: 0.0)
    guard.check()
    other = copy.deepcopy(guard)
    assert guard.ballast is not None and other.ballast is None
    assert (other.folder, other.reserve_mb) == (tmp_path, 2.0)
    other.check()
    for one in (guard, other):
        one.ballast.drop()
