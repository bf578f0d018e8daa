# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Feetech's protocol 0: FF FF, id, length, instruction, parameters, inverted sum."""

from __future__ import annotations

from collections.abc import Sequence

from emulated_arm.protocol import BROADCAST, Packet, Protocol, Reply, Request, act, register
from emulated_arm.servo import Servo

HEADER = b"\xff\xff"
# The longest instruction the SDK sends is 250 bytes.
LONGEST = 250


def checksum(body: bytes) -> int:
    """The inverted low byte of the sum over id, length, instruction or error, and parameters."""
    return ~sum(body) & 0xFF


class FeetechProtocol(Protocol):
    """The host's side of protocol 0 as STS servos hear and answer it."""

    def _take(self, data: bytearray) -> tuple[int, Packet | None]:
        start = data.find(HEADER)
        if start < 0:
            # A single FF at the end may be the first half of a header.
            keep = 1 if data[-1] == 0xFF else 0
            return len(data) - keep, None
        if start:
            return start, None
        if len(data) < 4:
            return 0, None
        ident, length = data[2], data[3]
        if ident == 0xFF or not 2 <= length <= LONGEST:
            return 1, None
        end = 4 + length
        if len(data) < end:
            return 0, None
        if checksum(data[2 : end - 1]) != data[end - 1]:
            return 1, None
        return end, Packet(ident, data[4], bytes(data[5 : end - 1]))

    def encode(self, packet: Packet) -> bytes:
        return self._frame(packet.ident, packet.instruction, packet.parameters)

    def encode_reply(self, reply: Reply) -> bytes:
        return self._frame(reply.ident, reply.error & 0x7F, reply.parameters)

    @staticmethod
    def _frame(ident: int, word: int, parameters: bytes) -> bytes:
        body = bytes((ident, len(parameters) + 2, word)) + parameters
        return HEADER + body + bytes((checksum(body),))

    def describe(self, packet: Packet) -> Request | None:
        p, ident = packet.parameters, (packet.ident,)
        if packet.instruction == self.PING:
            return Request("ping", None, 0, ident)
        if packet.instruction == self.ACTION:
            return Request("action", None, 0, ident)
        if packet.instruction == self.READ and len(p) == 2:
            return Request("read", p[0], p[1], ident)
        if packet.instruction in (self.WRITE, self.REG_WRITE) and len(p) > 1:
            kind = "write" if packet.instruction == self.WRITE else "reg_write"
            return Request(kind, p[0], len(p) - 1, ident)
        if packet.instruction == self.SYNC_READ and len(p) > 2:
            return Request("sync_read", p[0], p[1], tuple(p[2:]))
        if packet.instruction == self.SYNC_WRITE and len(p) > 2 and p[1] and (len(p) - 2) % (p[1] + 1) == 0:
            return Request("sync_write", p[0], p[1], tuple(p[2 :: p[1] + 1]))
        return None

    def answer(self, packet: Packet, servos: Sequence[Servo]) -> list[Reply]:
        request = self.describe(packet)
        if request is None:
            return []
        p = packet.parameters
        heard = [s for s in servos if packet.ident in (s.ident, BROADCAST)]
        replies: list[Reply] = []
        if request.kind == "sync_read":
            by_id = {servo.ident: servo for servo in servos}
            for ident in request.idents:
                if ident not in by_id:
                    break
                _, data = by_id[ident].read(p[0], p[1])
                replies.append(Reply(ident, by_id[ident].hardware_error, data, chained=True, read=p[0]))
            return replies
        if request.kind == "sync_write":
            by_id = {servo.ident: servo for servo in servos}
            for at, ident in zip(range(2, len(p), p[1] + 1), request.idents, strict=True):
                if ident in by_id:
                    by_id[ident].write(p[0], p[at + 1 : at + 1 + p[1]])
            return []
        for servo in heard:
            ident = servo.ident
            if request.kind == "ping":
                replies.append(Reply(ident, servo.hardware_error))
            elif request.kind == "read" and packet.ident != BROADCAST:
                _, data = servo.read(p[0], p[1])
                replies.append(Reply(ident, servo.hardware_error, data, read=p[0]))
            elif request.kind == "write":
                servo.write(p[0], p[1:])
            elif request.kind == "reg_write":
                register(servo, p[0], p[1:])
            elif request.kind == "action":
                act(servo)
            answers = request.kind in ("write", "reg_write") and servo.get("Response_Status_Level") == 1
            if answers and packet.ident != BROADCAST:
                replies.append(Reply(ident, servo.hardware_error))
        return replies
