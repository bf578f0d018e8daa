# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What every emulated servo has: a byte-addressed register map behind a protocol, and a shaft that a goal drives.

Positions are ticks, 4096 to the turn. ``shaft`` is the continuous angle of the output shaft as the magnet sees it, before
homing offset and drive mode; the registers show it through both.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

TICKS_PER_TURN = 4096
# Our choice: a position-controlled hobby servo under light load closes two thirds of an error in about 50 ms.
TIME_CONSTANT = 0.05


@dataclass(frozen=True)
class Goal:
    """One write to a goal position.

    Attributes:
        ident: The servo's id on the bus.
        ticks: The value written, decoded.
        low, high: The servo's position limits at that moment (``Min_/Max_Position_Limit``).
        outside: Whether ``ticks`` lies outside them.
        applied: What the servo heads for now; None if it refused the value.
        torque: Whether the torque was on.
    """

    ident: int
    ticks: int
    low: int
    high: int
    outside: bool
    applied: int | None
    torque: bool


class Servo(ABC):
    """A servo's registers and shaft.

    Subclasses give the control table and what writing a register means. Values are little-endian.

    Args:
        ident: Id on the bus.
        model: The model's name as LeRobot spells it.
        registers: Initial values by name; what is absent is 0.

    Attributes:
        shaft: Angle of the output shaft, ticks.
        speed: Its speed, ticks per second.
        target: Where the goal wants the shaft, ticks; None when the torque is off.
        stops: The mechanical ends of the joint's travel in shaft ticks, or None.
        pushing: How far the target lies beyond a stop or an obstacle, ticks: the load.
        hardware_error: Error bits that each status packet carries.
        connected: False when its cable is unplugged.
        goals: Goals written since the bus last took them away.
    """

    table: dict[str, tuple[int, int]]
    eeprom: range
    read_only: frozenset[str]
    baudrates: dict[int, int]
    size: int

    def __init__(self, ident: int, model: str, registers: dict[str, int]) -> None:
        self.model = model
        self.memory = bytearray(self.size)
        for name, value in registers.items():
            self.put(name, value)
        self.put("ID", ident)
        self.saved = bytes(self.memory)
        self.shaft = 2048.0
        self.speed = 0.0
        self.target: float | None = None
        self.stops: tuple[float, float] | None = None
        self.pushing = 0.0
        self.hardware_error = 0
        self.connected = True
        self.goals: list[Goal] = []
        self.pending: tuple[int, bytes] | None = None
        self._fixed = {a for n in self.read_only for a in range(self.table[n][0], sum(self.table[n]))}

    def get(self, name: str) -> int:
        """The register's value, unsigned."""
        address, size = self.table[name]
        return int.from_bytes(self.memory[address : address + size], "little")

    def put(self, name: str, value: int) -> None:
        """Sets a register, as the firmware does: no limits, no side effects."""
        address, size = self.table[name]
        self.memory[address : address + size] = (value & (256**size - 1)).to_bytes(size, "little")

    @property
    def ident(self) -> int:
        """The servo's id on the bus."""
        return self.get("ID")

    @property
    def baudrate(self) -> int:
        """Bits per second it listens at; 0 for a register value without meaning."""
        return self.baudrates.get(self.get("Baud_Rate"), 0)

    @property
    def torque(self) -> bool:
        """Whether the motor is powered."""
        return self.get("Torque_Enable") == 1

    def power_cycle(self) -> None:
        """Forgets what was not saved: RAM, and EEPROM bytes written while the lock was on."""
        self.memory[:] = self.saved
        self.target = None
        self.hardware_error = 0
        self.pending = None

    def save_eeprom(self) -> None:
        """Makes the present EEPROM bytes survive a power cycle."""
        kept = bytearray(self.saved)
        kept[self.eeprom.start : self.eeprom.stop] = self.memory[self.eeprom.start : self.eeprom.stop]
        self.saved = bytes(kept)

    def overlaps(self, name: str, address: int, length: int) -> bool:
        """Whether a read or write of ``length`` bytes at ``address`` touches the register."""
        start, size = self.table[name]
        return address < start + size and start < address + length

    @abstractmethod
    def read(self, address: int, length: int) -> tuple[int, bytes]:
        """Answers a read: (error number or 0, the bytes)."""

    @abstractmethod
    def write(self, address: int, data: bytes) -> int:
        """Answers a write: an error number or 0."""

    @property
    @abstractmethod
    def present(self) -> int:
        """``Present_Position``, decoded."""

    @property
    @abstractmethod
    def limits(self) -> tuple[int, int]:
        """``Min_Position_Limit`` and ``Max_Position_Limit``, decoded."""

    @property
    @abstractmethod
    def top_speed(self) -> float:
        """The speed limit, ticks per second."""

    @abstractmethod
    def hold(self) -> None:
        """Makes the present position the goal."""


def approach(position: float, target: float, top_speed: float, seconds: float) -> tuple[float, float]:
    """First-order motion with a speed limit, solved exactly, for any step.

    Full speed until the error is ``top_speed * TIME_CONSTANT``; from there on the error decays exponentially.

    Args:
        position, target: Ticks.
        top_speed: Ticks per second, positive.
        seconds: Time to advance, not negative.

    Returns:
        (position, speed) after that time, ticks and ticks per second.
    """
    error = target - position
    side = math.copysign(1.0, error)
    distance = abs(error)
    knee = top_speed * TIME_CONSTANT
    if distance > knee:
        cruising = min(seconds, (distance - knee) / top_speed)
        distance -= cruising * top_speed
        seconds -= cruising
        if seconds <= 0:
            return target - side * distance, side * top_speed
    distance *= math.exp(-seconds / TIME_CONSTANT)
    return target - side * distance, side * distance / TIME_CONSTANT


def move(servo: Servo, seconds: float) -> None:
    """Advances one servo's shaft by ``seconds``; limp it stays where it is."""
    if servo.target is None:
        servo.speed = servo.pushing = 0.0
        return
    position, servo.speed = approach(servo.shaft, servo.target, servo.top_speed, seconds)
    if servo.stops is not None:
        low, high = servo.stops
        stopped = min(high, max(low, position))
        if stopped != position:
            servo.speed = 0.0
        position = stopped
    servo.shaft = position
    servo.pushing = servo.target - position
