# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How fast LeRobot's own drivers run on the emulated buses, with cameras drawing beside them.

    python benchmarks/bench_servo_bus.py [--cycles 500] [--arms so101_follower,koch_follower] [--worlds first_order,mujoco]

A cycle is one ``get_observation`` without cameras and one ``send_action``. A line is printed per arm, world and number of
watched cameras: cycles per second back to back, and the time of a read at 30 Hz. A last line measures the machine: a byte
sent through a bare pseudo-terminal and back, which is the least any emulator can take. Answers the driver gave up on
(after 34 to 50 ms) are counted.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import tty
from pathlib import Path

import numpy as np
from lerobot.robots import koch_follower, make_robot_from_config, so_follower

from emulated_arm.arms import ARMS, calibration_of, travel_as_built
from emulated_arm.process import EmulatorProcess
from lerobot_camera_emulated_arm import EmulatedCameraConfig
from lerobot_camera_emulated_arm.emulated import EmulatedCamera

CONFIGS = {
    "so100_follower": so_follower.SO100FollowerConfig,
    "so101_follower": so_follower.SO101FollowerConfig,
    "koch_follower": koch_follower.KochFollowerConfig,
}


def describe(seconds: list[float]) -> str:
    """Percentiles in milliseconds."""
    p50, p90, p99 = np.percentile(np.array(seconds) * 1000, [50, 90, 99])
    return f"p50 {p50:.2f} ms, p90 {p90:.2f} ms, p99 {p99:.2f} ms"


def bare_terminal(rounds: int) -> None:
    """Prints the round trip of one byte through a pseudo-terminal with a process at the other end."""
    near, far = os.openpty()
    tty.setraw(near)
    tty.setraw(far)
    child = os.fork()
    if child == 0:
        while (byte := os.read(near, 1)) != b"q":
            os.write(near, byte)
        os._exit(0)
    os.set_blocking(far, False)
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        os.write(far, b"x")
        while True:
            try:
                os.read(far, 1)
                break
            except BlockingIOError:
                continue
        times.append(time.perf_counter() - began)
        time.sleep(0.003)
    os.write(far, b"q")
    os.waitpid(child, 0)
    print(f"bare pseudo-terminal, one byte there and back: {describe(times)}")


def connected(robot):
    """Connects, again if the driver gave up on an answer."""
    for _ in range(30):
        try:
            robot.connect()
            return robot
        except (ConnectionError, RuntimeError):
            if robot.bus.is_connected:
                robot.bus.port_handler.is_using = False
                robot.bus.port_handler.closePort()
    raise ConnectionError(f"{robot} did not connect in 30 tries")


def measure(kind: str, world: str, watched: int, cycles: int, folder: Path) -> None:
    """Prints one line."""
    calibration = folder / kind / "me.json"
    calibration.parent.mkdir(exist_ok=True)
    calibration.write_text(json.dumps(calibration_of(ARMS[kind], travel_as_built(ARMS[kind], 0))))
    port = folder / f"{kind}_{world}_{watched}"
    with EmulatorProcess(kind, port, calibration=calibration, world=world) as emulator:
        robot = connected(
            make_robot_from_config(CONFIGS[kind](id="me", port=str(port), calibration_dir=calibration.parent))
        )
        cameras = [
            EmulatedCamera(EmulatedCameraConfig(port=port, view=view, width=96, height=96, fps=30))
            for view in ("wrist", "overhead")[:watched]
        ]
        for camera in cameras:
            camera.connect()
        goal = dict.fromkeys(robot.action_features, 5.0)
        given_up, reads = 0, []
        began = time.perf_counter()
        for _ in range(cycles):
            try:
                robot.bus.sync_read("Present_Position")
            except ConnectionError:
                given_up += 1
            robot.send_action(goal)
        rate = cycles / (time.perf_counter() - began)
        for _ in range(cycles // 2):
            asked = time.perf_counter()
            try:
                robot.bus.sync_read("Present_Position")
                reads.append(time.perf_counter() - asked)
            except ConnectionError:
                given_up += 1
            robot.send_action(goal)
            time.sleep(max(0.0, 1 / 30 - (time.perf_counter() - asked)))
        # The last goal is still on its way when the line is left.
        time.sleep(0.2)
        written = len(emulator.lines("goal"))
        print(
            f"{kind}, {world}, {watched} cameras: {rate:.0f} cycles/s; at 30 Hz a read takes {describe(reads)}; "
            f"given up {given_up} of {cycles + cycles // 2}; goals {written} of {6 * (cycles + cycles // 2)}",
            flush=True,
        )
        for camera in cameras:
            camera.disconnect()
        robot.bus.port_handler.closePort()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cycles", type=int, default=500)
    parser.add_argument("--arms", default="so101_follower,koch_follower")
    parser.add_argument("--worlds", default="first_order,mujoco")
    arguments = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    bare_terminal(arguments.cycles)
    with tempfile.TemporaryDirectory() as folder:
        for kind in arguments.arms.split(","):
            for world in arguments.worlds.split(","):
                if world == "mujoco" and kind == "koch_follower":
                    continue
                for watched in (0, 2):
                    measure(kind, world, watched, arguments.cycles, Path(folder))


if __name__ == "__main__":
    main()
