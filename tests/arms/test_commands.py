# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""LeRobot's unmodified commands, and the emulator's own, against the emulated bus."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from lerobot.motors import Motor, MotorNormMode
from lerobot.motors.feetech import FeetechMotorsBus
from patience import connect_patiently, patiently

from emulated_arm.arms import ARMS, calibration_of, read_calibration, travel_as_built
from emulated_arm.hand import read_actions
from lerobot_camera_emulated_arm import EmulatedCameraConfig

ROOT = Path(__file__).parents[2]
DATASET = ROOT / "examples" / "so101_sim" / "data" / "so101_pick_place"


def lerobot(command: str, *words: str, timeout: float = 400) -> subprocess.CompletedProcess:
    """Runs a LeRobot command; see ``patiently`` for why it may be run again."""

    def once() -> subprocess.CompletedProcess:
        done = subprocess.run(
            [sys.executable, "-m", f"lerobot.scripts.lerobot_{command}", *words],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        if "There is no status packet" in done.stderr or "Missing motor IDs" in done.stderr:
            raise ConnectionError(done.stderr[-2000:])
        assert done.returncode == 0, done.stderr[-4000:]
        return done

    return patiently(once, tries=4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["so101_follower", "koch_follower", "koch_leader"])
def test_a_person_calibrates_with_lerobots_command(kind, start, tmp_path):
    emulator = start(kind, seed=3)
    role = "teleop" if ARMS[kind].leader else "robot"
    words = [f"--{role}.type={kind}", f"--{role}.port={emulator.port}", f"--{role}.id=me"]
    calibrate = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "lerobot.scripts.lerobot_calibrate",
            *words,
            f"--{role}.calibration_dir={tmp_path}",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said = bytearray()

    def listen() -> None:
        while piece := os.read(calibrate.stdout.fileno(), 4096):
            said.extend(piece)

    listener = threading.Thread(target=listen)
    listener.start()

    def hears(words: bytes) -> None:
        while words not in said:
            assert calibrate.poll() is None, said.decode()[-3000:]
            time.sleep(0.05)

    hears(b"to the middle of its range")
    emulator.remote.ask("hand middle 0.3")
    emulator.remote.ask("hand wait")
    calibrate.stdin.write(b"\n")
    calibrate.stdin.flush()
    hears(b"Recording positions")
    hears(b"gripper")
    # Slowly, for a busy machine: it must look while the joints are at their ends.
    emulator.remote.ask("hand ranges 1.5")
    emulator.remote.ask("hand wait")
    time.sleep(0.5)
    calibrate.stdin.write(b"\n")
    calibrate.stdin.flush()
    calibrate.wait(timeout=120)
    listener.join()
    assert calibrate.returncode == 0, said.decode()[-3000:]
    found = json.loads((tmp_path / "me.json").read_text())
    assert found == calibration_of(ARMS[kind], travel_as_built(ARMS[kind], 3))


@pytest.mark.slow
def test_record_with_leader_and_follower_and_nobody_there(start, calibration_file, tmp_path):
    """The leader follows a recording; lerobot-record records the follower, with both cameras."""
    leader = start(
        "so101_leader", calibration=calibration_file("so101_leader"), play=f"{DATASET}:0", loop=True
    )
    follower = start("so101_follower", calibration=calibration_file("so101_follower"))
    cameras = ", ".join(
        f"{view}: {{type: emulated, port: {follower.port}, view: {view}, width: 96, height: 96, fps: 20}}"
        for view in ("wrist", "overhead")
    )
    root = tmp_path / "recorded"
    lerobot(
        "record",
        "--robot.type=so101_follower",
        f"--robot.port={follower.port}",
        "--robot.id=me",
        f"--robot.calibration_dir={calibration_file('so101_follower').parent}",
        "--robot.num_read_retries=30",
        f"--robot.cameras={{{cameras}}}",
        "--teleop.type=so101_leader",
        f"--teleop.port={leader.port}",
        "--teleop.id=me",
        f"--teleop.calibration_dir={calibration_file('so101_leader').parent}",
        "--teleop.num_read_retries=30",
        "--dataset.repo_id=local/recorded",
        f"--dataset.root={root}",
        "--dataset.single_task=follow the leader",
        "--dataset.num_episodes=1",
        "--dataset.episode_time_s=5",
        "--dataset.reset_time_s=0",
        "--dataset.fps=20",
        "--dataset.push_to_hub=false",
        "--play_sounds=false",
    )
    table = pq.read_table(next((root / "data").rglob("*.parquet")))
    actions = np.stack(table["action"].to_numpy())
    rows, _ = read_actions(f"{DATASET}:0", ARMS["so101_leader"])
    # Every recorded action lies on the leader's way, within what a tick and a frame between two rows allow.
    far = [np.abs(rows - action).max(axis=1).min() for action in actions]
    assert len(actions) > 40 and np.median(far) < 3.0
    assert np.ptp(actions, axis=0).max() > 20, "it moved"
    assert follower.remote.ask("status")["goals_outside"] == 0
    info = json.loads((root / "meta" / "info.json").read_text())
    assert {"observation.images.wrist", "observation.images.overhead"} <= set(info["features"])


@pytest.mark.slow
def test_a_recorded_demonstration_succeeds_through_driver_bus_and_physics(start, device, calibration_file):
    """In lockstep a recording replayed goal by goal solves its scene, as it does in the environment itself."""
    pq = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("so101_nexus")
    about = pq.read_table(DATASET.with_name(f"{DATASET.name}_phases.parquet")).to_pylist()
    scene = next(row for row in about if not row["starts_elsewhere"])
    kind = "so101_follower"
    emulator = start(kind, calibration=calibration_file(kind), world="mujoco", clock="sim")
    camera = EmulatedCameraConfig(port=emulator.port, view="overhead", width=96, height=96, fps=20)
    robot = connect_patiently(device(kind, emulator, cameras={"overhead": camera}, num_read_retries=200))
    emulator.remote.ask(f"reset {scene['seed']}")
    before = robot.get_observation()
    rows, _ = read_actions(f"{DATASET}:{scene['episode_index']}", ARMS[kind])
    for row in rows:
        robot.send_action(dict(zip(robot.action_features, map(float, row), strict=True)))
        seen = robot.get_observation()
    world = emulator.remote.ask("status")["world"]
    assert world["steps"] == len(rows) and world["seed"] == scene["seed"]
    assert world["succeeded"] and world["task_progress"] == 100.0
    assert np.abs(seen["overhead"].astype(int) - before["overhead"]).mean() > 0.5
    with pytest.raises(ValueError, match="no view|squares"):
        from emulated_arm.camera_server import connect
        from emulated_arm.shared import folder_of

        link = connect(folder_of(emulator.port), "cameras")
        link.sendall(b'{"view": "wrist", "width": 640, "height": 480, "fps": 30}\n')
        raise ValueError(json.loads(link.makefile().readline())["error"])


def test_the_wallclock_leader_plays_from_the_first_look(start, device, calibration_file):
    kind = "so101_leader"
    emulator = start(kind, calibration=calibration_file(kind), play=f"{DATASET}:0", clock="sim", fps=20)
    leader = connect_patiently(device(kind, emulator, num_read_retries=0))
    rows, _ = read_actions(f"{DATASET}:0", ARMS[kind])
    seen = [list(patiently(leader.get_action).values()) for _ in range(30)]
    # One row a read; a read that the driver gave up on has used one up too.
    steps = [int(np.abs(rows - row).max(axis=1).argmin()) for row in seen]
    assert all(np.abs(rows[step] - row).max() < 0.5 for step, row in zip(steps, seen, strict=True))
    assert steps == sorted(steps)


def test_the_emulators_own_commands(start, tmp_path):
    def emulated_arm(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "emulated_arm.cli", *words], capture_output=True, text=True, timeout=60
        )

    out = tmp_path / "calibrations" / "me.json"
    assert emulated_arm("calibration", "--arm=koch_leader", f"--out={out}").returncode == 0
    assert read_calibration(out, ARMS["koch_leader"])["elbow_flex"]["drive_mode"] == 1
    emulator = start("koch_leader", calibration=out)
    answer = emulated_arm("send", str(emulator.port), "status")
    assert json.loads(answer.stdout)["joints"]["elbow_flex"]["limits"][0] >= 0
    for words, complaint in (
        (["hand", "jump"], "known: middle"),
        (["fault", "fire"], "unknown"),
        (["reset", "1"], "mujoco"),
        (["sing"], "unknown command"),
        (["hand", "move", "knee=3"], "no joint 'knee'"),
        (["hand", "play", str(tmp_path)], "not a LeRobotDataset"),
    ):
        answer = emulated_arm("send", str(emulator.port), *words)
        assert answer.returncode == 1 and complaint in answer.stderr
    assert "no emulator runs" in emulated_arm("send", str(tmp_path / "tty"), "status").stderr
    out.write_text("{}")
    refused = emulated_arm("--arm=koch_leader", f"--port={tmp_path / 'tty'}", f"--calibration={out}")
    assert (
        refused.returncode == 1
        and "lerobot-calibrate" not in refused.stderr
        and "shoulder_pan" in refused.stderr
    )
    (tmp_path / "occupied").write_text("mine")
    refused = emulated_arm("--arm=koch_leader", f"--port={tmp_path / 'occupied'}")
    assert refused.returncode == 1 and "not a link" in refused.stderr
    assert (tmp_path / "occupied").read_text() == "mine"
    refused = emulated_arm("--arm=koch_leader", f"--port={emulator.port}")
    assert refused.returncode == 1 and "already" in refused.stderr
    assert emulated_arm("send", str(emulator.port), "quit").returncode == 0
    assert emulator.process.wait(timeout=20) == 0
    assert not emulator.port.is_symlink()


def test_ids_are_set_one_servo_at_a_time(start):
    """What lerobot-setup-motors does: find the only servo at any id and baud rate, give it its own."""
    emulator = start("so101_follower", fresh=True)
    bus = FeetechMotorsBus(
        str(emulator.port),
        {
            "elbow_flex": Motor(3, "sts3215", MotorNormMode.DEGREES),
            "gripper": Motor(6, "sts3215", MotorNormMode.DEGREES),
        },
    )
    for motor in ("gripper", "elbow_flex"):
        emulator.remote.ask(f"connect {motor}")
        patiently(lambda motor=motor: bus.setup_motor(motor), tries=4)
    emulator.remote.ask("power cycle")
    joints = emulator.remote.ask("status")["joints"]
    assert (joints["gripper"]["id"], joints["elbow_flex"]["id"], joints["shoulder_pan"]["id"]) == (6, 3, 1)
    bus.port_handler.closePort()
