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

# Linux' ioctl for the terminal's settings with the baud rate as a number (asm-generic/ioctls.h).
TCGETS2 = 0x802C542A
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
        self._stop_read, self._stop_write = os.pipe()
        self.failure: BaseException | None = None

    def run(self) -> None:
        poll = select.poll()
        poll.register(self._line.near, select.POLLIN)
        poll.register(self._stop_read, select.POLLIN)
        try:
            while True:
                wait = None
                if self._late:
                    wait = max(0.0, (self._late[0][0] - time.monotonic()) * 1000)
                ready = dict(poll.poll(wait))
                if self._stop_read in ready:
                    return
                if self._line.near in ready:
                    self._listen()
                while self._late and self._late[0][0] <= time.monotonic():
                    self._line.write(heapq.heappop(self._late)[2])
        except BaseException as error:
            self.failure = error
            raise

    def _listen(self) -> None:
        try:
            data = os.read(self._line.near, 4096)
        except BlockingIOError:
            return
        except OSError:
            # Some systems report every open and close at the far end like this.
            time.sleep(0.01)
            return
        baudrate = self._line.baudrate if self._check_baudrate else 0
        for packet in self._protocol.feed(data, time.monotonic()):
            replies = self._arm.receive(packet, self._protocol, baudrate)
            if self._arm.simulated_clock and self._asked_again():
                # The driver has given up on this answer; sent now, it would be taken for the next one.
                continue
            due = time.monotonic()
            for delay, reply in replies:
                due += delay
                if delay == 0 and not self._late:
                    self._line.write(reply)
                else:
                    self._sent += 1
                    heapq.heappush(self._late, (due, self._sent, reply))

    def _asked_again(self) -> bool:
        return bool(select.select([self._line.near], [], [], 0)[0])

    def stop(self) -> None:
        """Ends the thread."""
        os.write(self._stop_write, b"x")
        self.join(timeout=5)
        os.close(self._stop_read)
        os.close(self._stop_write)
