# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Calls to LeRobot's drivers that are made again when the machine, not the arm, was too slow to answer."""

import time
from collections.abc import Callable
from typing import Any


def patiently(call: Callable[[], Any], tries: int = 30) -> Any:
    """Calls again when the driver gave up on an answer.

    On a machine with more to do than it has cores, Linux itself may carry the bytes of a pseudo-terminal later than the
    34 to 50 ms that LeRobot's drivers wait.
    """
    for left in reversed(range(tries)):
        try:
            return call()
        except (ConnectionError, RuntimeError):
            if left == 0:
                raise
            time.sleep(0.1)
    raise AssertionError("unreachable")


def connect_patiently(device: Any) -> Any:
    """Connects a robot or teleoperator, see ``patiently``."""

    def once() -> None:
        if device.bus.is_connected:
            device.bus.port_handler.is_using = False
            device.bus.port_handler.closePort()
        for camera in getattr(device, "cameras", {}).values():
            if camera.is_connected:
                camera.disconnect()
        device.connect()

    patiently(once)
    return device


def is_calibrated(device: Any) -> bool:
    """Asks the device; an answer that came too late for an earlier question would make nonsense of this one."""

    def once() -> bool:
        device.bus.port_handler.ser.reset_input_buffer()
        if not device.is_calibrated:
            raise ConnectionError
        return True

    return patiently(once)
