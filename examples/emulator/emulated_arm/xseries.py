# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Dynamixel X series (XL430-W250, XL330-M288, XL330-M077): control table, factory values, behaviour of a write.

Addresses and defaults from Robotis' e-manual; names are LeRobot's, so that a test can compare both tables.
"""

from __future__ import annotations

from emulated_arm.servo import TICKS_PER_TURN, Goal, Servo

TABLE: dict[str, tuple[int, int]] = {
    "Model_Number": (0, 2),
    "Model_Information": (2, 4),
    "Firmware_Version": (6, 1),
    "ID": (7, 1),
    "Baud_Rate": (8, 1),
    "Return_Delay_Time": (9, 1),
    "Drive_Mode": (10, 1),
    "Operating_Mode": (11, 1),
    "Secondary_ID": (12, 1),
    "Protocol_Type": (13, 1),
    "Homing_Offset": (20, 4),
    "Moving_Threshold": (24, 4),
    "Temperature_Limit": (31, 1),
    "Max_Voltage_Limit": (32, 2),
    "Min_Voltage_Limit": (34, 2),
    "PWM_Limit": (36, 2),
    "Current_Limit": (38, 2),
    "Velocity_Limit": (44, 4),
    "Max_Position_Limit": (48, 4),
    "Min_Position_Limit": (52, 4),
    "Shutdown": (63, 1),
    "Torque_Enable": (64, 1),
    "LED": (65, 1),
    "Status_Return_Level": (68, 1),
    "Registered_Instruction": (69, 1),
    "Hardware_Error_Status": (70, 1),
    "Velocity_I_Gain": (76, 2),
    "Velocity_P_Gain": (78, 2),
    "Position_D_Gain": (80, 2),
    "Position_I_Gain": (82, 2),
    "Position_P_Gain": (84, 2),
    "Bus_Watchdog": (98, 1),
    "Goal_PWM": (100, 2),
    "Goal_Current": (102, 2),
    "Goal_Velocity": (104, 4),
    "Profile_Acceleration": (108, 4),
    "Profile_Velocity": (112, 4),
    "Goal_Position": (116, 4),
    "Realtime_Tick": (120, 2),
    "Moving": (122, 1),
    "Moving_Status": (123, 1),
    "Present_PWM": (124, 2),
    "Present_Current": (126, 2),
    "Present_Velocity": (128, 4),
    "Present_Position": (132, 4),
    "Velocity_Trajectory": (136, 4),
    "Position_Trajectory": (140, 4),
    "Present_Input_Voltage": (144, 2),
    "Present_Temperature": (146, 1),
}

COMMON = {
    "Firmware_Version": 46,
    "Baud_Rate": 1,
    "Return_Delay_Time": 250,
    "Operating_Mode": 3,
    "Secondary_ID": 255,
    "Protocol_Type": 2,
    "Moving_Threshold": 10,
    "PWM_Limit": 885,
    "Max_Position_Limit": 4095,
    "Status_Return_Level": 2,
    "Velocity_I_Gain": 1000,
    "Velocity_P_Gain": 100,
    "Goal_PWM": 885,
    "Present_Temperature": 30,
}
FACTORY = {
    "xl430-w250": COMMON
    | {"Model_Number": 1060, "Temperature_Limit": 72, "Max_Voltage_Limit": 140, "Min_Voltage_Limit": 60}
    | {"Velocity_Limit": 265, "Shutdown": 52, "Position_P_Gain": 800, "Present_Input_Voltage": 120},
    "xl330-m288": COMMON
    | {"Model_Number": 1200, "Temperature_Limit": 70, "Max_Voltage_Limit": 70, "Min_Voltage_Limit": 35}
    | {"Velocity_Limit": 445, "Shutdown": 53, "Position_P_Gain": 400, "Present_Input_Voltage": 50}
    | {"Current_Limit": 1750, "Goal_Current": 1750},
    "xl330-m077": COMMON
    | {"Model_Number": 1190, "Temperature_Limit": 70, "Max_Voltage_Limit": 70, "Min_Voltage_Limit": 35}
    | {"Velocity_Limit": 1620, "Shutdown": 53, "Position_P_Gain": 400, "Present_Input_Voltage": 50}
    | {"Current_Limit": 1750, "Goal_Current": 1750},
}
MODES = {"xl430-w250": (1, 3, 4, 16), "xl330-m288": (0, 1, 3, 4, 5, 16), "xl330-m077": (0, 1, 3, 4, 5, 16)}

BAUDRATES = {0: 9_600, 1: 57_600, 2: 115_200, 3: 1_000_000, 4: 2_000_000, 5: 3_000_000, 6: 4_000_000}
POSITION, EXTENDED_POSITION, CURRENT_POSITION = 3, 4, 5
POSITION_MODES = (POSITION, EXTENDED_POSITION, CURRENT_POSITION)
# 256 turns either way in the extended mode.
EXTENDED_LIMIT = 256 * TICKS_PER_TURN - 1
# One unit of velocity is 0.229 turns a minute.
TICKS_PER_S_PER_UNIT = 0.229 * TICKS_PER_TURN / 60
REVERSE = 0x01
DATA_RANGE_ERROR, DATA_LENGTH_ERROR, DATA_LIMIT_ERROR, ACCESS_ERROR = 4, 5, 6, 7


def signed(value: int, size: int) -> int:
    """Reads an unsigned register value of ``size`` bytes as two's complement."""
    return value - 256**size if value >= 256**size // 2 else value


class XSeries(Servo):
    """A Dynamixel of the X series in one of its position modes.

    EEPROM is closed while the torque is on, and a goal beyond the limits is refused (position mode), as the firmware
    does. Turning the torque on makes the present position the goal.
    """

    table = TABLE
    eeprom = range(0, 64)
    read_only = frozenset(
        ("Model_Number", "Model_Information", "Firmware_Version", "Registered_Instruction")
        + ("Hardware_Error_Status", "Realtime_Tick", "Moving", "Moving_Status", "Present_PWM")
        + ("Present_Current", "Present_Velocity", "Present_Position", "Velocity_Trajectory")
        + ("Position_Trajectory", "Present_Input_Voltage", "Present_Temperature")
    )
    baudrates = BAUDRATES
    size = 147

    def __init__(self, ident: int, model: str, registers: dict[str, int] | None = None) -> None:
        super().__init__(ident, model, FACTORY[model] | (registers or {}))

    @property
    def direction(self) -> int:
        """1, or -1 when ``Drive_Mode`` reverses the servo."""
        return -1 if self.get("Drive_Mode") & REVERSE else 1

    @property
    def present(self) -> int:
        actual = self.direction * round(self.shaft)
        if self.get("Operating_Mode") == POSITION:
            actual %= TICKS_PER_TURN
        return actual + signed(self.get("Homing_Offset"), 4)

    @property
    def limits(self) -> tuple[int, int]:
        return signed(self.get("Min_Position_Limit"), 4), signed(self.get("Max_Position_Limit"), 4)

    @property
    def top_speed(self) -> float:
        limit = self.get("Velocity_Limit") or 1
        profile = self.get("Profile_Velocity")
        return (min(profile, limit) if profile else limit) * TICKS_PER_S_PER_UNIT

    def hold(self) -> None:
        self.put("Goal_Position", self.present)
        self.target = self.shaft if self.torque else None

    def read(self, address: int, length: int) -> tuple[int, bytes]:
        if address + length > self.size:
            return ACCESS_ERROR, b""
        self._refresh()
        return 0, bytes(self.memory[address : address + length])

    def write(self, address: int, data: bytes) -> int:
        places = range(address, address + len(data))
        if not data or places.stop > self.size or any(at in self._fixed for at in places):
            return ACCESS_ERROR
        if address < self.eeprom.stop and self.torque:
            return ACCESS_ERROR
        before, torque = bytes(self.memory), self.torque
        self.memory[address : places.stop] = data
        error = self._unacceptable(address, len(data))
        if self.overlaps("Goal_Position", address, len(data)):
            error = error or self._head_for(signed(self.get("Goal_Position"), 4))
        if error:
            self.memory[:] = before
            return error
        if address < self.eeprom.stop:
            self.save_eeprom()
        if self.overlaps("Torque_Enable", address, len(data)):
            if self.torque and not torque:
                self.hold()
            elif not self.torque:
                self.target = None
        return 0

    def _unacceptable(self, address: int, length: int) -> int:
        if self.get("Torque_Enable") > 1 or self.get("Operating_Mode") not in MODES[self.model]:
            return DATA_RANGE_ERROR
        if self.get("Baud_Rate") not in BAUDRATES or self.ident > 252:
            return DATA_RANGE_ERROR
        if self.overlaps("Torque_Enable", address, length) and self.torque and self.hardware_error:
            # After a shutdown only a reboot brings the torque back.
            return ACCESS_ERROR
        return 0

    def _head_for(self, ticks: int) -> int:
        low, high = self.limits
        mode = self.get("Operating_Mode")
        extent = (low, high) if mode == POSITION else (-EXTENDED_LIMIT, EXTENDED_LIMIT)
        accepted = extent[0] <= ticks <= extent[1]
        outside = not low <= ticks <= high
        applied = ticks if accepted else None
        self.goals.append(Goal(self.ident, ticks, low, high, outside, applied, self.torque))
        if not accepted:
            return DATA_LIMIT_ERROR
        if self.torque and mode in POSITION_MODES:
            self.target = float(round(self.shaft) + self.direction * (ticks - self.present))
        return 0

    def _refresh(self) -> None:
        self.put("Present_Position", self.present)
        self.put("Present_Velocity", round(self.direction * self.speed / TICKS_PER_S_PER_UNIT))
        load = round(min(1000.0, max(-1000.0, self.direction * self.pushing * 4)))
        self.put("Present_Current", load)
        self.put("Present_PWM", round(load * 0.885))
        self.put("Moving", int(abs(self.speed) > self.get("Moving_Threshold") * TICKS_PER_S_PER_UNIT))
        self.put("Hardware_Error_Status", self.hardware_error)
