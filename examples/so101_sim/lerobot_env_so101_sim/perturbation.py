# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Starts near the contact poses of a demonstration, from which the expert recovers (paper 6.6, recovery augmentation).

The paper draws starts from a small geodesic ball around the nominal contact pose in end-effector space and gives no
radius. Here the ball is in metres around the tool's position, and the tool's yaw turns by up to a given angle.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np

CONTACTS = ("grasp", "place")
# Farther than this is no longer near the contact, and soon out of the arm's reach. Our choice.
WIDEST = 0.1


@dataclass(frozen=True)
class Perturbation:
    """One start near a contact.

    Attributes:
        contact: ``grasp`` (before the fingers close, empty) or ``place`` (before they open, the cube in them).
        offset: What is added to the tool's nominal position, (x, y, z), metres.
        yaw: What is added to its nominal yaw, radians.
    """

    contact: str
    offset: tuple[float, float, float]
    yaw: float

    @classmethod
    def draw(cls, seed: int, radius: float, yaw: float, contact: str | None = None) -> Perturbation:
        """Draws a start evenly from the ball; a stream of its own, so that the demonstration's variety stays as it is.

        Args:
            seed: The episode's seed.
            radius: Of the ball, metres, above 0 and at most ``WIDEST``.
            yaw: Largest turn to either side, degrees.
            contact: One of ``CONTACTS``; either with equal chance if left out.

        Raises:
            ValueError: A value is out of range.
        """
        if not 0 < radius <= WIDEST:
            raise ValueError(f"perturb={radius} must be above 0 and at most {WIDEST} metres; 0.03 is a start")
        if not (math.isfinite(yaw) and 0 <= yaw <= 90):
            raise ValueError(f"perturb_yaw={yaw} must be from 0 to 90 degrees")
        if contact not in (None, *CONTACTS):
            raise ValueError(f"perturb_at={contact!r} is unknown; choose one of {CONTACTS}")
        rng = np.random.default_rng([seed, 303])
        chosen = CONTACTS[rng.integers(2)]
        direction = rng.normal(size=3)
        offset = direction / np.linalg.norm(direction) * radius * rng.random() ** (1 / 3)
        turn = float(np.deg2rad(rng.uniform(-yaw, yaw)))
        return cls(contact or chosen, (float(offset[0]), float(offset[1]), float(offset[2])), turn)

    def near(self, tool: np.ndarray, lowest: float) -> np.ndarray:
        """The start's tool position, (3,), metres: ``tool`` moved by the offset, but not below ``lowest``."""
        moved = tool + self.offset
        return np.array([moved[0], moved[1], max(moved[2], lowest)])

    def columns(self) -> dict[str, object]:
        """What the phases file says about it."""
        x, y, z = asdict(self)["offset"]
        return {
            "perturbed": self.contact,
            "offset_x": x,
            "offset_y": y,
            "offset_z": z,
            "offset_yaw": self.yaw,
        }
