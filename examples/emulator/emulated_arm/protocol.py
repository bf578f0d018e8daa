# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What both servo protocols share: packets, a parser that survives garbage, and who answers what."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from emulated_arm.servo import Servo

BROADCAST = 0xFE
# Our choice: a packet that comes to a halt in the middle is given up after this time, as a servo's firmware does.
PACKET_GAP = 0.02


@dataclass(frozen=True)
class Packet:
    """An instruction: the addressee's id, the instruction's number, the parameters without any stuffing."""

    ident: int
    instruction: int
    parameters: bytes = b""


@dataclass(frozen=True)
class Reply:
    """A status packet: the sender's id, its error byte, the parameters.

    ``chained`` marks replies of which each waits for the one before it, as in a sync read: if one fails to come, those
    after it stay away too. ``read`` is the address it was read from, or None.
    """

    ident: int
    error: int
    parameters: bytes = b""
    chained: bool = False
    read: int | None = None


@dataclass(frozen=True)
class Request:
    """What an instruction turned out to be, for clocks and logs."""

    kind: str
    address: int | None
    length: int
    idents: tuple[int, ...]


class Protocol(ABC):
    """One direction of a bus: bytes to instructions, instructions to replies, replies to bytes."""

    # What follows are the numbers of the instructions.
    PING, READ, WRITE, REG_WRITE, ACTION, REBOOT = 0x01, 0x02, 0x03, 0x04, 0x05, 0x08
    SYNC_READ, SYNC_WRITE = 0x82, 0x83

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._fed = 0.0

    def feed(self, data: bytes, now: float) -> list[Packet]:
        """Takes bytes as they came in and returns the instructions that are complete now.

        Bytes that belong to no valid packet are skipped one by one, so a packet is found wherever it starts.

        Args:
            data: Bytes from the line.
            now: Time in seconds, on any clock that only goes forward.
        """
        if self._bytes and now - self._fed > PACKET_GAP:
            self._bytes.clear()
        self._fed = now
        self._bytes += data
        packets = []
        while self._bytes:
            used, packet = self._take(self._bytes)
            if used == 0:
                break
            if packet is not None:
                packets.append(packet)
            del self._bytes[:used]
        return packets

    @abstractmethod
    def _take(self, data: bytearray) -> tuple[int, Packet | None]:
        """Looks at the start of ``data``: (bytes to drop, packet or None); (0, None) means wait for more."""

    @abstractmethod
    def encode(self, packet: Packet) -> bytes:
        """The bytes of an instruction, as a driver sends it."""

    @abstractmethod
    def encode_reply(self, reply: Reply) -> bytes:
        """The bytes of a status packet."""

    @abstractmethod
    def describe(self, packet: Packet) -> Request | None:
        """What the packet asks for; None if its parameters make no sense."""

    @abstractmethod
    def answer(self, packet: Packet, servos: Sequence[Servo]) -> list[Reply]:
        """Carries an instruction out on the servos that hear it and returns their replies in order.

        Args:
            packet: The instruction.
            servos: The servos that are powered, plugged in and at the right baud rate.
        """


def register(servo: Servo, address: int, data: bytes) -> int:
    """Keeps a write for the next action instruction, an error number or 0."""
    if not data:
        return 0
    servo.pending = (address, data)
    return 0


def act(servo: Servo) -> None:
    """Carries out the registered write, if there is one."""
    if servo.pending is not None:
        address, data = servo.pending
        servo.pending = None
        servo.write(address, data)
