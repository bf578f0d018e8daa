# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""An imaginary arm in LeRobot's robot registry (`--robot.type=tiny_arm`): joints follow their goals at once, or not."""

from dataclasses import dataclass

from lerobot.robots import Robot, RobotConfig
from tiny_arm import JOINT_NAMES


@RobotConfig.register_subclass("tiny_arm")
@dataclass(kw_only=True)
class TinyRobotConfig(RobotConfig):
    """Where the arm stands at first, and what goes wrong."""

    port: str = "nowhere"
    disable_torque_on_disconnect: bool = True
    # This joint does not move.
    stuck: str | None = None
    # Ctrl-C at this command.
    interrupt_at: int | None = None
    # Five joints instead of six.
    small: bool = False


class TinyRobot(Robot):
    """See the module. `log` holds what happened, in order: names of calls, and the commands as tuples."""

    config_class = TinyRobotConfig
    name = "tiny_arm"
    log: list = []  # shared: tests read it after the command has made the robot

    def __init__(self, config: TinyRobotConfig) -> None:
        super().__init__(config)
        self.config = config
        names = JOINT_NAMES[:5] if config.small else JOINT_NAMES
        self.position = dict.fromkeys(names, 0.0)
        self._connected = False
        self.sent = 0

    @property
    def observation_features(self) -> dict:
        return dict.fromkeys(self.position, float)

    @property
    def action_features(self) -> dict:
        return dict.fromkeys(self.position, float)

    @property
    def is_connected(self) -> bool:
        return self._connected

    @property
    def is_calibrated(self) -> bool:
        return True

    def connect(self, calibrate: bool = True) -> None:
        assert not self._connected
        if self.config.port == "missing":
            raise ConnectionError("no such port")
        self._connected = True
        self.log.append("connect")

    def calibrate(self) -> None:
        pass

    def configure(self) -> None:
        pass

    def get_observation(self) -> dict:
        assert self._connected
        return dict(self.position)

    def send_action(self, action: dict) -> dict:
        assert self._connected
        self.sent += 1
        if self.sent == self.config.interrupt_at:
            raise KeyboardInterrupt
        self.log.append(tuple(action[name] for name in self.position))
        for name, value in action.items():
            if name != self.config.stuck:
                self.position[name] = value
        return action

    def disconnect(self) -> None:
        assert self._connected
        self._connected = False
        self.log.append("limp" if self.config.disable_torque_on_disconnect else "held")
