# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Feetech STS3215: control table, factory values, and what its firmware does with a write.

Addresses from Feetech's STS/SMS memory table (FT-SMS-STS); names are LeRobot's, so that a test can compare both tables.
"""

from __future__ import annotations

from emulated_arm.servo import TICKS_PER_TURN, Goal, Servo

MODEL_NUMBER = 777
SIGN_LOAD, SIGN_OFFSET, SIGN_POSITION = 10, 11, 15

TABLE: dict[str, tuple[int, int]] = {
    "Firmware_Major_Version": (0, 1),
    "Firmware_Minor_Version": (1, 1),
    "Model_Number": (3, 2),
    "ID": (5, 1),
    "Baud_Rate": (6, 1),
    "Return_Delay_Time": (7, 1),
    "Response_Status_Level": (8, 1),
    "Min_Position_Limit": (9, 2),
    "Max_Position_Limit": (11, 2),
    "Max_Temperature_Limit": (13, 1),
    "Max_Voltage_Limit": (14, 1),
    "Min_Voltage_Limit": (15, 1),
    "Max_Torque_Limit": (16, 2),
    "Phase": (18, 1),
    "Unloading_Condition": (19, 1),
    "LED_Alarm_Condition": (20, 1),
    "P_Coefficient": (21, 1),
    "D_Coefficient": (22, 1),
    "I_Coefficient": (23, 1),
    "Minimum_Startup_Force": (24, 2),
    "CW_Dead_Zone": (26, 1),
    "CCW_Dead_Zone": (27, 1),
    "Protection_Current": (28, 2),
    "Angular_Resolution": (30, 1),
    "Homing_Offset": (31, 2),
    "Operating_Mode": (33, 1),
    "Protective_Torque": (34, 1),
    "Protection_Time": (35, 1),
    "Overload_Torque": (36, 1),
    "Torque_Enable": (40, 1),
    "Acceleration": (41, 1),
    "Goal_Position": (42, 2),
    "Goal_Time": (44, 2),
    "Goal_Velocity": (46, 2),
    "Torque_Limit": (48, 2),
    "Lock": (55, 1),
    "Present_Position": (56, 2),
    "Present_Velocity": (58, 2),
    "Present_Load": (60, 2),
    "Present_Voltage": (62, 1),
    "Present_Temperature": (63, 1),
    "Status": (65, 1),
    "Moving": (66, 1),
    "Present_Current": (69, 2),
    "Maximum_Velocity_Limit": (84, 1),
    "Maximum_Acceleration": (85, 1),
}

# As shipped, at 12 V. The arm's id and baud rate are set when it is built.
FACTORY = {
    "Firmware_Major_Version": 3,
    "Firmware_Minor_Version": 10,
    "Model_Number": MODEL_NUMBER,
    "Baud_Rate": 0,
    "Return_Delay_Time": 250,
    "Response_Status_Level": 1,
    "Min_Position_Limit": 0,
    "Max_Position_Limit": 4095,
    "Max_Temperature_Limit": 70,
    "Max_Voltage_Limit": 140,
    "Min_Voltage_Limit": 40,
    "Max_Torque_Limit": 1000,
    "Phase": 12,
    "Unloading_Condition": 44,
    "LED_Alarm_Condition": 47,
    "P_Coefficient": 32,
    "D_Coefficient": 32,
    "Minimum_Startup_Force": 16,
    "CW_Dead_Zone": 1,
    "CCW_Dead_Zone": 1,
    "Protection_Current": 500,
    "Angular_Resolution": 1,
    "Protective_Torque": 20,
    "Protection_Time": 200,
    "Overload_Torque": 80,
    "Torque_Limit": 1000,
    "Lock": 1,
    "Present_Voltage": 120,
    "Present_Temperature": 30,
    "Maximum_Velocity_Limit": 68,
    "Maximum_Acceleration": 254,
}

# 0.222 s for 60 degrees without load, by the data sheet.
NO_LOAD_SPEED = TICKS_PER_TURN / 6 / 0.222
# Writing this to Torque_Enable makes the present position the middle one.
CENTRE_HERE = 128
BAUDRATES = {0: 1_000_000, 1: 500_000, 2: 250_000, 3: 128_000, 4: 115_200, 5: 57_600, 6: 38_400, 7: 19_200}


def sign_magnitude(value: int, bit: int) -> int:
    """Encodes a signed value with its sign in ``bit``; what does not fit is cut to the largest magnitude."""
    return min(abs(value), (1 << bit) - 1) | (1 << bit if value < 0 else 0)


def from_sign_magnitude(raw: int, bit: int) -> int:
    """Decodes ``sign_magnitude``."""
    magnitude = raw & ((1 << bit) - 1)
    return -magnitude if raw >> bit & 1 else magnitude


class Sts3215(Servo):
    """A Feetech STS3215 in position mode.

    A goal outside the limits is cut to them, as the firmware does; both limits 0 mean none. EEPROM writes act at once
    and last only if ``Lock`` is 0. Turning the torque on makes the present position the goal.
    """

    table = TABLE
    eeprom = range(0, 40)
    read_only = frozenset(
        ("Firmware_Major_Version", "Firmware_Minor_Version", "Model_Number", "Present_Position")
        + ("Present_Velocity", "Present_Load", "Present_Voltage", "Present_Temperature", "Status", "Moving")
        + ("Present_Current",)
    )
    baudrates = BAUDRATES
    size = 96

    def __init__(self, ident: int, model: str = "sts3215", registers: dict[str, int] | None = None) -> None:
        super().__init__(ident, model, FACTORY | (registers or {}))

    @property
    def homing(self) -> int:
        """``Homing_Offset``, decoded."""
        return from_sign_magnitude(self.get("Homing_Offset"), SIGN_OFFSET)

    @property
    def present(self) -> int:
        return (round(self.shaft) - self.homing) % TICKS_PER_TURN

    @property
    def limits(self) -> tuple[int, int]:
        low, high = self.get("Min_Position_Limit"), self.get("Max_Position_Limit")
        return from_sign_magnitude(low, SIGN_POSITION), from_sign_magnitude(high, SIGN_POSITION)

    @property
    def top_speed(self) -> float:
        asked = self.get("Goal_Velocity") & 0x7FFF
        return float(min(asked, NO_LOAD_SPEED)) if asked else NO_LOAD_SPEED

    def hold(self) -> None:
        self.put("Goal_Position", self.present)
        self.target = self.shaft if self.torque else None

    def read(self, address: int, length: int) -> tuple[int, bytes]:
        self._refresh()
        # Past the table's end the servo answers zeros.
        return 0, bytes(self.memory[address : address + length]).ljust(length, b"\0")

    def write(self, address: int, data: bytes) -> int:
        torque = self.torque
        for at, byte in enumerate(data, address):
            if at < self.size and at not in self._fixed:
                self.memory[at] = byte
        if self.get("Lock") == 0:
            self.save_eeprom()
        if self.overlaps("Torque_Enable", address, len(data)):
            self._switch(torque)
        if self.overlaps("Goal_Position", address, len(data)):
            self._head_for(from_sign_magnitude(self.get("Goal_Position"), SIGN_POSITION))
        return 0

    def _switch(self, was_on: bool) -> None:
        if self.get("Torque_Enable") == CENTRE_HERE:
            middle = TICKS_PER_TURN // 2
            offset = (round(self.shaft) - middle + middle) % TICKS_PER_TURN - middle
            self.put("Homing_Offset", sign_magnitude(offset, SIGN_OFFSET))
            self.put("Torque_Enable", int(was_on))
        elif self.torque and not was_on:
            self.hold()
        elif not self.torque:
            self.target = None

    def _head_for(self, ticks: int) -> None:
        low, high = self.limits
        unlimited = low == high == 0
        applied = ticks if unlimited else min(high, max(low, ticks))
        outside = not unlimited and applied != ticks
        self.goals.append(Goal(self.ident, ticks, low, high, outside, applied, self.torque))
        if self.torque:
            # Through the frame of the present position: it never takes the short way across 0.
            self.target = float(round(self.shaft) + applied - self.present)

    def _refresh(self) -> None:
        self.put("Present_Position", self.present)
        self.put("Present_Velocity", sign_magnitude(round(self.speed), SIGN_POSITION))
        load = round(min(1000.0, max(-1000.0, self.pushing * 4)))
        self.put("Present_Load", sign_magnitude(load, SIGN_LOAD))
        self.put("Present_Current", sign_magnitude(round(load / 5), SIGN_POSITION))
        self.put("Moving", int(abs(self.speed) > 10))
        self.put("Status", self.hardware_error)
