# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The arms: which servos sit at which joints, how far each joint travels, and in which units LeRobot speaks of it.

A joint's travel is mechanics: where the ends are on the servo's shaft. A calibration file describes the same thing the
way LeRobot writes it. Either gives the other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emulated_arm.dynamixel import DynamixelProtocol
from emulated_arm.feetech import FeetechProtocol
from emulated_arm.protocol import Protocol
from emulated_arm.servo import TICKS_PER_TURN, Servo
from emulated_arm.sts3215 import Sts3215, sign_magnitude
from emulated_arm.xseries import REVERSE, XSeries

# LeRobot calls this the middle of a 12-bit encoder, and its half turn is 4095 ticks long.
MIDDLE = 2047
LAST = TICKS_PER_TURN - 1
BAUD_1M = {"feetech": 0, "dynamixel": 3}
# Our choice: an assembled arm's horns sit up to this far off the encoder's middle.
MOUNTING_TOLERANCE = 300
HOMING_SIGN_BIT = 11


@dataclass(frozen=True)
class Joint:
    """One joint of a kind of arm.

    Attributes:
        name, ident, model: As LeRobot names and numbers the motor.
        low, high: Ends of the travel from the middle posture's zero, degrees.
        units: LeRobot's default units for it: ``degrees``, ``percent`` (0 to 100 of the travel) or
            ``signed_percent`` (-100 to 100).
        full_turn: LeRobot's calibration takes the whole turn and does not ask for its range.
        inverted: LeRobot's calibration sets the servo's reverse mode.
    """

    name: str
    ident: int
    model: str
    low: float
    high: float
    units: str
    full_turn: bool = False
    inverted: bool = False


def _so(model: str = "sts3215") -> tuple[Joint, ...]:
    # The SO-101's joint ranges, from the model in MuJoCo Menagerie (robotstudio_so101).
    return (
        Joint("shoulder_pan", 1, model, -110, 110, "degrees"),
        Joint("shoulder_lift", 2, model, -100, 100, "degrees"),
        Joint("elbow_flex", 3, model, -96.8, 96.8, "degrees"),
        Joint("wrist_flex", 4, model, -95, 95, "degrees"),
        Joint("wrist_roll", 5, model, -157, 163, "degrees", full_turn=True),
        Joint("gripper", 6, model, -10, 100, "percent"),
    )


def _koch(models: tuple[str, ...], inverted: str | None) -> tuple[Joint, ...]:
    # Our choice, rounded: what a Koch v1.1 reaches before its printed parts touch.
    travel = {
        "shoulder_pan": (-150, 150, True),
        "shoulder_lift": (-90, 100, False),
        "elbow_flex": (-100, 95, False),
        "wrist_flex": (-100, 100, False),
        "wrist_roll": (-170, 170, True),
        "gripper": (-30, 60, False),
    }
    return tuple(
        Joint(
            name,
            ident,
            models[ident - 1],
            low,
            high,
            "percent" if name == "gripper" else "signed_percent",
            full_turn=full,
            inverted=name == inverted,
        )
        for ident, (name, (low, high, full)) in enumerate(travel.items(), 1)
    )


@dataclass(frozen=True)
class Arm:
    """A kind of arm: LeRobot's name, the bus's protocol, the joints, and whether a person moves it."""

    name: str
    brand: str
    joints: tuple[Joint, ...]
    leader: bool

    def protocol(self) -> Protocol:
        """A fresh parser of the arm's protocol."""
        return FeetechProtocol() if self.brand == "feetech" else DynamixelProtocol()

    def servo(self, joint: Joint, fresh: bool = False) -> Servo:
        """A servo as it sits in an assembled arm, or as it leaves the factory (``fresh``): id 1, factory baud rate."""
        registers = {} if fresh else {"Baud_Rate": BAUD_1M[self.brand]}
        ident = 1 if fresh else joint.ident
        if self.brand == "feetech":
            return Sts3215(ident, joint.model, registers)
        return XSeries(ident, joint.model, registers)


_KOCH_FOLLOWER = ("xl430-w250", "xl430-w250", "xl330-m288", "xl330-m288", "xl330-m288", "xl330-m288")
ARMS = {
    arm.name: arm
    for arm in (
        Arm("so100_follower", "feetech", _so(), leader=False),
        Arm("so101_follower", "feetech", _so(), leader=False),
        Arm("so100_leader", "feetech", _so(), leader=True),
        Arm("so101_leader", "feetech", _so(), leader=True),
        Arm("koch_follower", "dynamixel", _koch(_KOCH_FOLLOWER, None), leader=False),
        Arm("koch_leader", "dynamixel", _koch(("xl330-m077",) * 6, "elbow_flex"), leader=True),
    )
}


@dataclass(frozen=True)
class Travel:
    """Where a joint's range lies on the servo's shaft, and the units along it.

    Attributes:
        low, high: Shaft ticks at LeRobot's ``range_min`` and ``range_max``; low is the larger one on a reversed servo.
        units: See ``Joint``.
        stops: Mechanical ends in shaft ticks, the smaller first, or None.
    """

    low: float
    high: float
    units: str
    stops: tuple[float, float] | None

    def to_shaft(self, value: float) -> float:
        """Shaft ticks of a value in LeRobot's units."""
        if self.units == "degrees":
            return (self.low + self.high) / 2 + self._sign * value * LAST / 360
        part = value / 100 if self.units == "percent" else (value + 100) / 200
        return self.low + part * (self.high - self.low)

    def to_units(self, shaft: float) -> float:
        """The value in LeRobot's units at a place of the shaft."""
        if self.units == "degrees":
            return self._sign * (shaft - (self.low + self.high) / 2) * 360 / LAST
        part = (shaft - self.low) / (self.high - self.low)
        return part * 100 if self.units == "percent" else part * 200 - 100

    @property
    def _sign(self) -> int:
        return 1 if self.high > self.low else -1


def travel_as_built(arm: Arm, seed: int) -> list[Travel]:
    """The travel of an arm somebody assembled: each horn a little off, by a seed."""
    rng = np.random.default_rng([seed, 3215])
    travels = []
    for joint in arm.joints:
        zero = 2048 + int(rng.integers(-MOUNTING_TOLERANCE, MOUNTING_TOLERANCE + 1))
        sign = -1 if joint.inverted else 1
        ends = [zero + sign * degrees * LAST / 360 for degrees in (joint.low, joint.high)]
        stops = (round(min(ends)), round(max(ends)))
        if joint.full_turn:
            # LeRobot takes 0 to 4095 about the pose it was calibrated in.
            ends = [zero + sign * (end - MIDDLE) for end in (0, LAST)]
        low, high = (round(end) for end in ends)
        travels.append(Travel(low, high, joint.units, stops))
    return travels


def travel_from_calibration(arm: Arm, calibration: dict[str, dict]) -> list[Travel]:
    """The travel a calibration file describes; a joint calibrated over the whole turn has its kind's own stops."""
    travels = []
    for joint in arm.joints:
        entry = calibration[joint.name]
        offset, low, high = entry["homing_offset"], entry["range_min"], entry["range_max"]
        if arm.brand == "feetech":
            # Present = actual - offset.
            ends = (low + offset, high + offset)
        else:
            # Present = direction * actual + offset.
            sign = -1 if entry["drive_mode"] & REVERSE else 1
            ends = (sign * (low - offset), sign * (high - offset))
        stops: tuple[float, float] | None = (min(ends), max(ends))
        if joint.full_turn:
            middle = sum(ends) / 2
            stops = (middle + joint.low * LAST / 360, middle + joint.high * LAST / 360)
        travels.append(Travel(*ends, joint.units, stops))
    return travels


def calibration_of(arm: Arm, travels: list[Travel]) -> dict[str, dict]:
    """The calibration that LeRobot would find if a person moved every joint exactly from end to end."""
    calibration = {}
    for joint, travel in zip(arm.joints, travels, strict=True):
        middle = round(middle_of(joint, travel))
        sign = -1 if joint.inverted else 1
        offset = middle - MIDDLE if arm.brand == "feetech" else MIDDLE - sign * middle
        ends = [
            end - offset if arm.brand == "feetech" else sign * end + offset
            for end in (travel.low, travel.high)
        ]
        low, high = (0, LAST) if joint.full_turn else (round(ends[0]), round(ends[1]))
        calibration[joint.name] = {
            "id": joint.ident,
            "drive_mode": int(joint.inverted),
            "homing_offset": offset,
            "range_min": low,
            "range_max": high,
        }
    return calibration


def middle_of(joint: Joint, travel: Travel) -> float:
    """Where a person holds the joint when asked for the middle of its range, shaft ticks."""
    if joint.full_turn:
        return (travel.low + travel.high) / 2 - travel._sign / 2
    return (travel.low + travel.high) / 2


def write_eeprom(arm: Arm, servos: list[Servo], calibration: dict[str, dict]) -> None:
    """Puts a calibration into the servos, as LeRobot's ``write_calibration`` does."""
    for joint, servo in zip(arm.joints, servos, strict=True):
        entry = calibration[joint.name]
        offset = entry["homing_offset"]
        servo.put("ID", entry["id"])
        if arm.brand == "feetech":
            offset = sign_magnitude(offset, HOMING_SIGN_BIT)
        else:
            servo.put("Drive_Mode", entry["drive_mode"])
            # LeRobot runs all Koch joints but the gripper over several turns; the range may reach past one.
            servo.put("Operating_Mode", 4)
        servo.put("Homing_Offset", offset)
        servo.put("Min_Position_Limit", entry["range_min"])
        servo.put("Max_Position_Limit", entry["range_max"])
        servo.save_eeprom()


def read_calibration(path: Path, arm: Arm) -> dict[str, dict]:
    """Reads a calibration file as LeRobot writes it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not LeRobot's JSON, lacks a motor or a number, or a number does not fit its register.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        wanted = ("id", "drive_mode", "homing_offset", "range_min", "range_max")
        calibration = {j.name: {key: int(found[j.name][key]) for key in wanted} for j in arm.joints}
    except FileNotFoundError:
        raise FileNotFoundError(
            f"--calibration={path} does not exist. Fix: leave the option out and run lerobot-calibrate against the "
            "arm, or write one with `emulated-arm calibration`."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"--calibration={path} is not a LeRobot calibration of a {arm.name} ({type(error).__name__}: {error}). "
            f"Fix: it needs id, drive_mode, homing_offset, range_min, range_max for "
            f"{', '.join(j.name for j in arm.joints)}."
        ) from error
    for name, entry in calibration.items():
        if not 0 <= entry["id"] <= 252 or entry["range_min"] >= entry["range_max"]:
            raise ValueError(
                f"--calibration={path}: {name} has an id or a range that no servo takes: {entry}"
            )
        if arm.brand == "feetech" and abs(entry["homing_offset"]) > MIDDLE:
            raise ValueError(f"--calibration={path}: homing_offset of {name} does not fit 11 bits: {entry}")
    return calibration
