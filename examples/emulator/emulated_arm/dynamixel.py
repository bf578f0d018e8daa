# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Dynamixel's protocol 2.0: FF FF FD 00, id, length, instruction, stuffed parameters, CRC-16."""

from __future__ import annotations

from collections.abc import Sequence

from emulated_arm.protocol import BROADCAST, Packet, Protocol, Reply, Request, act, register
from emulated_arm.servo import Servo

HEADER = b"\xff\xff\xfd\x00"
STUFFED = b"\xff\xff\xfd"
STATUS = 0x55
FAST_SYNC_READ = 0x8A
# The SDK's own limit for instructions and replies.
LONGEST = 1024
ALERT = 0x80
INSTRUCTION_ERROR = 2


def _table() -> tuple[int, ...]:
    # The generator polynomial of CRC-16/BUYPASS (Robotis' e-manual).
    polynomial, table = 0x8005, []
    for byte in range(256):
        value = byte << 8
        for _ in range(8):
            value = (value << 1) ^ polynomial if value & 0x8000 else value << 1
        table.append(value & 0xFFFF)
    return tuple(table)


CRC_TABLE = _table()


def crc16(data: bytes) -> int:
    """CRC-16 over a packet from its header to its last parameter."""
    crc = 0
    for byte in data:
        crc = ((crc << 8) & 0xFFFF) ^ CRC_TABLE[(crc >> 8) ^ byte]
    return crc


def stuff(body: bytes) -> bytes:
    """Puts FD after each FF FF FD, so that a header never occurs inside a packet."""
    return body.replace(STUFFED, STUFFED + b"\xfd")


def unstuff(body: bytes) -> bytes:
    """Undoes ``stuff``."""
    return body.replace(STUFFED + b"\xfd", STUFFED)


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


class DynamixelProtocol(Protocol):
    """The host's side of protocol 2.0 as X-series servos hear and answer it."""

    def _take(self, data: bytearray) -> tuple[int, Packet | None]:
        start = data.find(HEADER)
        if start < 0:
            # The last three bytes may be the beginning of a header.
            keep = next((n for n in (3, 2, 1) if len(data) >= n and HEADER.startswith(data[-n:])), 0)
            return len(data) - keep, None
        if start:
            return start, None
        if len(data) < 7:
            return 0, None
        ident, length = data[4], _word(data, 5)
        if ident == 0xFF or not 3 <= length <= LONGEST:
            return 1, None
        end = 7 + length
        if len(data) < end:
            return 0, None
        if crc16(data[: end - 2]) != _word(data, end - 2):
            return 1, None
        body = unstuff(bytes(data[7 : end - 2]))
        return end, Packet(ident, body[0], body[1:])

    def encode(self, packet: Packet) -> bytes:
        return self._frame(packet.ident, bytes((packet.instruction,)) + packet.parameters)

    def encode_reply(self, reply: Reply) -> bytes:
        return self._frame(reply.ident, bytes((STATUS, reply.error)) + reply.parameters)

    @staticmethod
    def _frame(ident: int, body: bytes) -> bytes:
        # Only a fast sync read is answered under the broadcast id, and the SDK does not unstuff that answer.
        body = body if ident == BROADCAST and body[0] == STATUS else stuff(body)
        packet = HEADER + bytes((ident,)) + (len(body) + 2).to_bytes(2, "little") + body
        return packet + crc16(packet).to_bytes(2, "little")

    def describe(self, packet: Packet) -> Request | None:
        p, ident = packet.parameters, (packet.ident,)
        simple = {self.PING: "ping", self.ACTION: "action", self.REBOOT: "reboot"}
        if packet.instruction in simple:
            return Request(simple[packet.instruction], None, 0, ident)
        if packet.instruction == self.READ and len(p) == 4:
            return Request("read", _word(p, 0), _word(p, 2), ident)
        if packet.instruction in (self.WRITE, self.REG_WRITE) and len(p) > 2:
            kind = "write" if packet.instruction == self.WRITE else "reg_write"
            return Request(kind, _word(p, 0), len(p) - 2, ident)
        if packet.instruction in (self.SYNC_READ, FAST_SYNC_READ) and len(p) > 4:
            kind = "sync_read" if packet.instruction == self.SYNC_READ else "fast_sync_read"
            return Request(kind, _word(p, 0), _word(p, 2), tuple(p[4:]))
        if packet.instruction == self.SYNC_WRITE and len(p) > 4:
            size = _word(p, 2)
            if size and (len(p) - 4) % (size + 1) == 0:
                return Request("sync_write", _word(p, 0), size, tuple(p[4 :: size + 1]))
        return None

    def answer(self, packet: Packet, servos: Sequence[Servo]) -> list[Reply]:
        request = self.describe(packet)
        heard = [s for s in servos if packet.ident in (s.ident, BROADCAST)]
        if request is None:
            # Servos do not answer each other's status packets, nor a broadcast they do not understand.
            unicast = packet.ident != BROADCAST and packet.instruction != STATUS
            return [Reply(s.ident, self._error(s, INSTRUCTION_ERROR)) for s in heard if unicast]
        p, address = packet.parameters, request.address or 0
        if request.kind in ("sync_read", "fast_sync_read"):
            by_id = {servo.ident: servo for servo in servos}
            replies = []
            for ident in request.idents:
                if ident not in by_id:
                    break
                error, data = by_id[ident].read(address, request.length)
                error = self._error(by_id[ident], error)
                replies.append(Reply(ident, error, data, chained=True, read=address))
            if request.kind == "fast_sync_read":
                return self._fast(replies) if len(replies) == len(request.idents) else []
            return replies
        if request.kind == "sync_write":
            by_id = {servo.ident: servo for servo in servos}
            for at, ident in zip(range(4, len(p), request.length + 1), request.idents, strict=True):
                if ident in by_id:
                    by_id[ident].write(address, p[at + 1 : at + 1 + request.length])
            return []
        replies = []
        for servo in heard:
            ident, error, data = servo.ident, 0, b""
            if request.kind == "ping":
                data = bytes(servo.memory[0:2]) + bytes((servo.get("Firmware_Version"),))
            elif request.kind == "read":
                error, data = servo.read(address, request.length)
            elif request.kind == "write":
                error = servo.write(address, p[2:])
            elif request.kind == "reg_write":
                error = register(servo, address, p[2:])
            elif request.kind == "action":
                act(servo)
            elif request.kind == "reboot":
                servo.power_cycle()
            # 0: answers pings only; 1: pings and reads; 2: everything.
            asked = {"ping": 0, "read": 1}.get(request.kind, 2)
            if servo.get("Status_Return_Level") >= asked and (
                packet.ident != BROADCAST or request.kind == "ping"
            ):
                replies.append(
                    Reply(ident, self._error(servo, error), data, read=address if asked == 1 else None)
                )
        return replies

    @staticmethod
    def _error(servo: Servo, error: int) -> int:
        return error | ALERT if servo.hardware_error else error

    def _fast(self, replies: list[Reply]) -> list[Reply]:
        """One status packet for all: error, id, data, and between two servos the CRC so far."""
        first = replies[0]
        parameters = bytes((first.ident,)) + first.parameters
        total = sum(len(r.parameters) + 4 for r in replies) + 1
        head = HEADER + bytes((BROADCAST,)) + total.to_bytes(2, "little") + bytes((STATUS, first.error))
        for reply in replies[1:]:
            parameters += crc16(head + parameters).to_bytes(2, "little")
            parameters += bytes((reply.error, reply.ident)) + reply.parameters
        return [Reply(BROADCAST, first.error, parameters, chained=True, read=first.read)]
