# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The serial line: a pseudo-terminal under a name of one's choice, and the thread that listens on it."""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import select
import struct
import threading
import time
import tty
from pathlib import Path

from emulated_arm.arm import EmulatedArm
from emulated_arm.protocol import Packet

# Linux' ioctl for the terminal's settings with the baud rate as a number (asm-generic/ioctls.h).
TCGETS2 = 0x802C542A
# Our choice: how often motion and faults go on, in seconds, while the bus is quiet.
TICK = 0.01
# Our choice: a servo answers at once whatever else its computer does.
AHEAD = -10
TERMIOS2 = struct.Struct("=4I20s2I")


class SerialLine:
    """A pseudo-terminal whose far end is linked from ``name``.

    The near end is the emulator's. The far end stays open here too, so that a driver may come and go.

    Args:
        name: Path of the link. A link left behind by an earlier run is replaced.

    Raises:
        FileExistsError: There is something else under that name.
    """

    def __init__(self, name: Path) -> None:
        if name.exists() and not name.is_symlink():
            raise FileExistsError(f"--port={name} exists and is not a link. Fix: choose another name.")
        name.parent.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.near, self._far = os.openpty()
        tty.setraw(self.near)
        tty.setraw(self._far)
        os.set_blocking(self.near, False)
        self.device = os.ttyname(self._far)
        unfinished = name.with_name(f".{name.name}.partial")
        unfinished.unlink(missing_ok=True)
        unfinished.symlink_to(self.device)
        unfinished.rename(name)

    @property
    def baudrate(self) -> int:
        """Bits per second the driver has set; 0 where the system does not tell."""
        try:
            answer = fcntl.ioctl(self.near, TCGETS2, bytes(TERMIOS2.size))
        except OSError:
            return 0
        return TERMIOS2.unpack(answer)[-1]

    def read(self) -> bytes:
        """All bytes that have come in."""
        pieces = []
        try:
            while piece := os.read(self.near, 4096):
                pieces.append(piece)
        except BlockingIOError:
            pass
        except OSError:
            # Some systems report every open and close at the far end like this.
            time.sleep(0.01)
        return b"".join(pieces)

    @property
    def waiting(self) -> bool:
        """Whether more bytes have come in."""
        return bool(select.select([self.near], [], [], 0)[0])

    def write(self, data: bytes) -> None:
        """Sends bytes; like a real line it loses them if nobody reads for long."""
        with contextlib.suppress(BlockingIOError):
            os.write(self.near, data)

    def close(self) -> None:
        """Takes the link and the terminal away."""
        if self.name.is_symlink() and os.readlink(self.name) == self.device:
            self.name.unlink()
        os.close(self.near)
        os.close(self._far)


class Bus(threading.Thread):
    """Listens on a line and answers for an arm.

    On a busy machine this process may be the slow one: a servo answers within a millisecond, and a driver that has waited
    50 ms asks again. The answer to a question that was asked again is not sent, and a repetition that crossed its answer
    on the line is not answered twice: else the driver would take each answer for that to its next question, for ever.

    Args:
        line: The line.
        arm: The arm.
        check_baudrate: Servos understand only their own baud rate.
    """

    def __init__(self, line: SerialLine, arm: EmulatedArm, check_baudrate: bool = True) -> None:
        super().__init__(name="bus", daemon=True)
        self._line, self._arm = line, arm
        self._check_baudrate = check_baudrate
        self._protocol = arm.kind.protocol()
        self._late: list[tuple[float, int, bytes]] = []
        self._sent = 0
        self._answered_again: Packet | None = None
        self._stop_read, self._stop_write = os.pipe()
        self.failure: BaseException | None = None

    def run(self) -> None:
        with contextlib.suppress(OSError):
            # On Linux of this thread alone, where this user may.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), AHEAD)
        poll = select.poll()
        poll.register(self._line.near, select.POLLIN)
        poll.register(self._stop_read, select.POLLIN)
        try:
            while True:
                wait = TICK
                if self._late:
                    wait = min(wait, max(0.0, self._late[0][0] - time.monotonic()))
                ready = dict(poll.poll(wait * 1000))
                if self._stop_read in ready:
                    return
                if self._line.near in ready:
                    self._listen()
                elif not ready:
                    # In this thread too: a second one would make the bus wait for it now and then.
                    self._arm.tick()
                while self._late and self._late[0][0] <= time.monotonic():
                    self._line.write(heapq.heappop(self._late)[2])
        except BaseException as error:
            self.failure = error
            raise

    def _listen(self) -> None:
        data = self._line.read()
        baudrate = self._line.baudrate if self._check_baudrate else 0
        packets = self._protocol.feed(data, time.monotonic())
        for index, packet in enumerate(packets):
            replies = self._arm.receive(packet, self._protocol, baudrate)
            given_up = index + 1 < len(packets) or self._line.waiting
            answered, self._answered_again = self._answered_again, None
            if given_up or packet == answered:
                continue
            self._send(replies)
            if self._line.waiting:
                self._answered_again = packet

    def _send(self, replies: list[tuple[float, bytes]]) -> None:
        due = time.monotonic()
        at_once = b""
        for delay, reply in replies:
            due += delay
            if delay == 0 and not self._late:
                at_once += reply
            else:
                self._sent += 1
                heapq.heappush(self._late, (due, self._sent, reply))
        if at_once:
            self._line.write(at_once)

    def stop(self) -> None:
        """Ends the thread."""
        os.write(self._stop_write, b"x")
        self.join(timeout=5)
        os.close(self._stop_read)
        os.close(self._stop_write)
