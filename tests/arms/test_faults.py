# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Injected faults as LeRobot's drivers meet them: recovered by its retries, or raised, and always on record."""

import json
import time

import numpy as np
import pytest
from patience import connect_patiently, patiently

from emulated_arm.faults import KINDS, Fault, random_faults, read_faults
from lerobot_camera_emulated_arm import EmulatedCameraConfig

ARM = "so101_follower"


@pytest.fixture
def arm(start, device, calibration_file):
    """(emulator, connected robot) with one camera."""

    def build(kind=ARM, **options):
        emulator = start(kind, calibration=calibration_file(kind), **options)
        camera = EmulatedCameraConfig(port=emulator.port, view="wrist", width=64, height=48, fps=30)
        robot = device(kind, emulator, cameras={"wrist": camera})
        connect_patiently(robot)
        return emulator, robot

    return build


@pytest.mark.parametrize("kind", ["corrupt", "truncate", "drop", "wrong_id", "noise", "lost_request"])
def test_one_bad_answer_is_recovered_by_lerobots_retries(arm, kind):
    emulator, robot = arm()
    expected = robot.bus.sync_read("Present_Position", num_retry=30)
    emulator.remote.ask(f"fault {kind} ids=3")
    assert robot.bus.sync_read("Present_Position", num_retry=30) == pytest.approx(expected, abs=0.1)
    assert robot.bus.sync_read("Present_Position", num_retry=30) == pytest.approx(expected, abs=0.1)
    assert emulator.remote.ask("status")["injected"] == {kind: 1}
    [line] = emulator.lines("fault")
    assert line["kind"] == kind and abs(line["t"] - time.time()) < 60


def test_koch_does_not_retry_and_says_so(arm):
    emulator, robot = arm("koch_follower")
    patiently(robot.get_observation)
    emulator.remote.ask("fault drop ids=2")
    with pytest.raises(ConnectionError, match="no status packet"):
        robot.get_observation()


@pytest.mark.parametrize("kind", ["so101_follower", "koch_follower"])
def test_a_silent_servo_fails_the_read_and_comes_back(arm, kind):
    emulator, robot = arm(kind)
    emulator.remote.ask("fault silent ids=4 seconds=3")
    with pytest.raises(ConnectionError, match="no status packet"):
        robot.bus.sync_read("Present_Position")
    # It hears nothing either, the others do.
    robot.send_action(dict.fromkeys(robot.action_features, 15.0))
    deadline = time.monotonic() + 2
    while not emulator.lines("goal") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert {goal["id"] for goal in emulator.lines("goal")} == {1, 2, 3, 5, 6}
    patiently(lambda: robot.bus.sync_read("Present_Position"), tries=100)
    assert [line["event"] for line in emulator.lines() if line["event"].startswith("fault")] == [
        "fault",
        "fault_over",
    ]


def test_a_stalled_bus_answers_nobody(arm):
    emulator, robot = arm()
    emulator.remote.ask("fault stall seconds=30")
    with pytest.raises(ConnectionError):
        robot.bus.sync_read("Present_Position")
    assert robot.bus.ping("gripper") is None
    before = emulator.remote.ask("status")["requests"]
    robot.send_action(dict.fromkeys(robot.action_features, 15.0))
    deadline = time.monotonic() + 10
    while emulator.remote.ask("status")["requests"] == before and time.monotonic() < deadline:
        time.sleep(0.05)
    emulator.remote.ask("faults clear")
    robot.bus.sync_read("Present_Position", num_retry=30)
    assert emulator.lines("goal") == []


def test_a_late_answer_is_taken_for_the_next_one(arm):
    emulator, robot = arm()
    robot.bus.sync_read("Present_Position", num_retry=30)
    time.sleep(0.2)
    robot.bus.port_handler.ser.reset_input_buffer()
    emulator.remote.ask("fault late ms=400 ids=1")
    asked = time.monotonic()
    with pytest.raises(ConnectionError):
        robot.bus.sync_read("Present_Position")
    assert time.monotonic() - asked < 0.4
    time.sleep(0.6)
    # The answer lies in the driver's buffer now, older than the question it will be taken for.
    assert robot.bus.port_handler.getBytesAvailable() == 6 * 8


def test_overload_shows_in_the_status(arm):
    emulator, robot = arm()
    emulator.remote.ask("fault hardware_error ids=6 bits=32 seconds=60")
    with pytest.raises(RuntimeError, match="Overload"):
        robot.bus.read("Present_Position", "gripper", normalize=False, num_retry=30)
    robot.bus.read("Present_Position", "elbow_flex", normalize=False, num_retry=30)
    emulator.remote.ask("faults clear")
    robot.bus.read("Present_Position", "gripper", normalize=False, num_retry=30)


def test_a_dynamixel_in_overload_goes_limp(arm):
    emulator, robot = arm("koch_follower")
    emulator.remote.ask("fault hardware_error ids=2 bits=32 seconds=60")
    with pytest.raises(RuntimeError, match="Hardware error"):
        robot.bus.read("Present_Position", "shoulder_lift", normalize=False, num_retry=30)
    joints = emulator.remote.ask("status")["joints"]
    assert [name for name, joint in joints.items() if not joint["torque"]] == ["shoulder_lift"]


def test_camera_faults(arm):
    emulator, robot = arm()
    camera = robot.cameras["wrist"]

    def moving() -> bool:
        robot.send_action(dict.fromkeys(robot.action_features, float(np.random.default_rng().uniform(0, 90))))
        seen = []
        for _ in range(8):
            time.sleep(0.03)
            seen.append(camera.async_read(2000))
        return any((a != b).any() for a, b in zip(seen, seen[1:], strict=False))

    assert moving()
    emulator.remote.ask("fault camera_frozen seconds=60")
    camera.read()
    camera.read()
    assert not moving()
    emulator.remote.ask("faults clear")
    emulator.remote.ask("fault camera_black seconds=60")
    camera.read()
    assert camera.read().max() == 0
    emulator.remote.ask("faults clear")
    emulator.remote.ask("fault camera_stalled camera=wrist seconds=60")
    time.sleep(0.8)
    with pytest.raises(TimeoutError, match="too old"):
        robot.get_observation()
    emulator.remote.ask("faults clear")
    camera.async_read(5000)
    emulator.remote.ask("fault camera_gone seconds=60")
    time.sleep(0.3)
    with pytest.raises(RuntimeError, match="unplugged"):
        robot.get_observation()
    emulator.remote.ask("faults clear")
    time.sleep(0.3)
    camera.read_latest(5000)
    assert moving()


def test_a_script_hits_at_its_time_and_count(arm, tmp_path):
    script = tmp_path / "faults.json"
    script.write_text(json.dumps({"faults": [{"kind": "drop", "after": 400, "count": 2, "ids": [5]}]}))
    emulator, robot = arm(faults=script)
    while emulator.remote.ask("status")["replies"] < 460:
        robot.bus.sync_read("Present_Position", num_retry=30)
    lines = emulator.lines("fault")
    assert [(line["kind"], line["id"]) for line in lines] == [("drop", 5)] * 2


def test_scripts_with_mistakes_name_them(tmp_path):
    script = tmp_path / "faults.json"
    for content, complaint in (
        ('{"faults": [{"kind": "fire"}]}', "fire.*unknown"),
        ('{"faults": [{"kind": "drop", "when": 3}]}', "when"),
        ('{"faults": [{"kind": "drop", "at": "soon"}]}', "numbers"),
        ('{"faults": [{"kind": "silent", "count": 2}]}', "seconds instead"),
        ('{"fault": []}', "unknown keys"),
        ("{", "faults.json"),
    ):
        script.write_text(content)
        with pytest.raises(ValueError, match=complaint):
            read_faults(script)


def test_random_faults_come_back_with_their_seed():
    first, again = random_faults(7, 5.0, 60.0), random_faults(7, 5.0, 60.0)
    assert [fault.describe() for fault in first] == [fault.describe() for fault in again]
    assert 200 < len(first) < 400 and {fault.kind for fault in first} == set(KINDS)
    assert random_faults(8, 5.0, 60.0)[0].describe() != first[0].describe()
    with pytest.raises(ValueError, match="not both"):
        Fault("drop", at=1.0, after=3)
