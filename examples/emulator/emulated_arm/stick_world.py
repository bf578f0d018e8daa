# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Pictures for arms without a simulated world: a drawn stick arm whose every joint can be read off the picture.

Run as a process of its own, so that drawing never delays the bus: ``python -m emulated_arm.stick_world``.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from emulated_arm.arms import ARMS
from emulated_arm.camera_server import CameraServer
from emulated_arm.shared import SharedState

BACKGROUND, TABLE = (205, 214, 222), (150, 130, 105)
COLOURS = ((40, 70, 160), (60, 120, 60), (170, 60, 50), (120, 50, 140), (200, 140, 30))
# Links as shares of the picture's height.
LINKS = (0.14, 0.22, 0.20, 0.12)


def angles_of(position: np.ndarray, units: tuple[str, ...]) -> tuple[np.ndarray, float]:
    """Angles of the first five joints in radians, and the gripper's opening from 0 to 1."""
    degrees = [v if u == "degrees" else v * 1.2 for v, u in zip(position[:5], units[:5], strict=True)]
    return np.deg2rad(degrees), float(np.clip(position[5] / 100, 0, 1))


def draw_arm(view: int, width: int, height: int, angles: np.ndarray, opening: float) -> np.ndarray:
    """Draws the arm.

    Args:
        view: 0 looks from the side, 1 from above, further ones from the side, mirrored.
        width, height: Pixels.
        angles: The first five joints, radians.
        opening: The gripper's, 0 to 1.

    Returns:
        (height, width, 3) uint8.
    """
    picture = Image.new("RGB", (width, height), BACKGROUND)
    pen = ImageDraw.Draw(picture)
    pan, lift, elbow, wrist, roll = (float(a) for a in angles)
    thick = max(2, height // 32)
    # In the plane of the arm: distance from the base's axis, and height.
    reach, up, slope = [0.0, 0.0], [0.0, LINKS[0]], np.pi / 2
    for bend, length in zip((lift, elbow, wrist), LINKS[1:], strict=True):
        slope -= bend if len(up) > 2 else bend + 0.3
        reach.append(reach[-1] + length * np.cos(slope))
        up.append(up[-1] + length * np.sin(slope))
    spread = 0.02 + 0.06 * opening
    if view == 1:
        pen.rectangle((0, 0, width, height), fill=TABLE)
        middle = np.array([width / 2, height * 0.85])
        ahead, across = np.array([np.sin(pan), -np.cos(pan)]), np.array([np.cos(pan), np.sin(pan)])
        points = [middle + ahead * r * height * 1.4 for r in reach]
        tips = [points[-1] + (ahead * 0.08 + across * side * spread) * height for side in (-1, 1)]
    else:
        pen.rectangle((0, int(height * 0.9), width, height), fill=TABLE)
        mirror = -1 if view > 1 else 1
        base = np.array([width * (0.35 if mirror > 0 else 0.65), height * 0.9])
        # Turning the base away shortens what is seen from the side.
        flat = mirror * (0.35 + 0.65 * np.cos(pan)) * height
        points = [base + np.array([r * flat, -u * height]) for r, u in zip(reach, up, strict=True)]
        ahead = np.array([np.cos(slope) * mirror, -np.sin(slope)])
        across = np.array([-ahead[1], ahead[0]]) * np.cos(roll)
        tips = [points[-1] + (ahead * 0.07 + across * side * spread) * height for side in (-1, 1)]
    for start, end, colour in zip(points, points[1:], COLOURS, strict=False):
        pen.line((*start, *end), fill=colour, width=thick)
    for tip in tips:
        pen.line((*points[-1], *tip), fill=COLOURS[-1], width=thick)
    # A dial for the roll, which a stick does not show.
    centre, radius = np.array([width * 0.88, height * 0.12]), height * 0.08
    pen.ellipse((*(centre - radius), *(centre + radius)), outline=(0, 0, 0))
    pen.line(
        (*centre, *(centre + radius * np.array([np.sin(roll), -np.cos(roll)]))), fill=(0, 0, 0), width=thick
    )
    return np.asarray(picture)


def main() -> None:
    """Draws until the emulator goes away."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--arm", required=True)
    parser.add_argument("--views", required=True)
    arguments = parser.parse_args()
    state = SharedState(arguments.folder / "state")
    views = tuple(arguments.views.split(","))
    units = tuple(joint.units for joint in ARMS[arguments.arm].joints)

    def draw(view: str, width: int, height: int) -> np.ndarray:
        return draw_arm(views.index(view), width, height, *angles_of(state.position.copy(), units))

    server = CameraServer(arguments.folder, state, views, draw)
    server.selector.register(sys.stdin, 1, "bus")
    print("ready", flush=True)
    while True:
        stepped = False
        for _ in server.wait(longest=1.0):
            # The bus pokes at each step of the simulated clock; its end of the pipe closes when it dies.
            if not os.read(sys.stdin.fileno(), 4096):
                return
            stepped = True
        step = state.get("goal_step")
        state.set("world_step", step)
        server.serve(step, all_due=stepped)


if __name__ == "__main__":
    main()
