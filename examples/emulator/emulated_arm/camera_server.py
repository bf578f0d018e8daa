# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The cameras' side of the world process: who watches which view how often, and when the next picture is due."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from emulated_arm.faults import CAMERA_KINDS
from emulated_arm.shared import Frames, SharedState

LARGEST = 1920
FASTEST = 240
# Our choice: of a picture's values, the share that is one brighter than drawn. A sensor's grain is stronger.
GRAINY = 1 / 16
# Positions of the grain, in both directions, before one comes again.
SHIFTS = 61


class Grain:
    """A sensor's grain: one step of brightness here and there, so that no two pictures are the same however still the scene.

    Without it a drawn arm that moves by less than a pixel looks like a frozen camera to whoever compares bytes.

    Args:
        width, height: Pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        shape = (height + SHIFTS, width + SHIFTS, 3)
        self._grain = (np.random.default_rng(0).random(shape, np.float32) < GRAINY).astype(np.uint8)

    def over(self, picture: np.ndarray, moment: int) -> np.ndarray:
        """The picture as a sensor would give it; neighbouring moments differ."""
        down, right = moment // SHIFTS % SHIFTS, moment % SHIFTS
        height, width = picture.shape[:2]
        return np.minimum(picture, 254) + self._grain[down : down + height, right : right + width]


def socket_in(folder: Path, name: str) -> tuple[str, int]:
    """A name for a socket in a folder that is short however deep the folder lies.

    Returns:
        The name and an open file descriptor that must stay open while the name is used.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    return f"/proc/self/fd/{descriptor}/{name}", descriptor


def listen(folder: Path, name: str) -> socket.socket:
    """A listening socket in a folder, for this user only."""
    (folder / name).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    short, descriptor = socket_in(folder, name)
    try:
        listener.bind(short)
    finally:
        os.close(descriptor)
    (folder / name).chmod(0o600)
    listener.listen(16)
    return listener


def connect(folder: Path, name: str) -> socket.socket:
    """A connection to a socket in a folder.

    Raises:
        OSError: Nobody listens there.
    """
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    short, descriptor = socket_in(folder, name)
    try:
        link.connect(short)
    except OSError:
        link.close()
        raise
    finally:
        os.close(descriptor)
    return link


class Stream:
    """One view at one size: the pictures' file, who watches, and how often."""

    def __init__(self, folder: Path, view: str, width: int, height: int) -> None:
        self.view, self.width, self.height = view, width, height
        self.path = folder / f"frames-{view}-{width}x{height}"
        self.frames = Frames(self.path, (width, height))
        self.watchers: dict[socket.socket, float] = {}
        self.due = 0.0
        self.last: np.ndarray | None = None
        self.grain = Grain(width, height)

    @property
    def period(self) -> float:
        """Seconds between pictures."""
        return 1 / max(self.watchers.values())


class CameraServer:
    """Serves the views of a world.

    A reader connects to the socket ``cameras`` in the folder and says ``{"view", "width", "height", "fps"}`` on one line;
    the answer names the file of the pictures. Pictures are drawn while the connection lasts.

    Args:
        folder: The emulator's folder.
        state: Shared with the bus.
        views: The cameras' names.
        draw: Gives a view's picture, (height, width, 3) uint8, for (view, width, height).
        accepts: Says why a size cannot be drawn, or returns None.
        exact: Pictures as drawn, without a sensor's grain.
    """

    def __init__(
        self,
        folder: Path,
        state: SharedState,
        views: tuple[str, ...],
        draw: Callable[[str, int, int], np.ndarray],
        accepts: Callable[[int, int], str | None] = lambda width, height: None,
        exact: bool = False,
    ) -> None:
        self._folder, self._state, self._views = folder, state, views
        self._draw, self._accepts, self._exact = draw, accepts, exact
        self._streams: dict[tuple[str, int, int], Stream] = {}
        self._listener = listen(folder, "cameras")
        self.selector = selectors.DefaultSelector()
        self.selector.register(self._listener, selectors.EVENT_READ, self._greet)

    def wait(self, longest: float) -> list:
        """Waits for watchers, for other registered files, or until the next picture is due.

        Returns:
            The keys of other files that are ready.
        """
        now = time.monotonic()
        due = min((s.due for s in self._streams.values() if s.watchers), default=now + longest)
        foreign = []
        for key, _ in self.selector.select(max(0.0, min(longest, due - now))):
            if callable(key.data):
                key.data(key.fileobj)
            else:
                foreign.append(key)
        return foreign

    def serve(self, step: int, all_due: bool = False) -> None:
        """Draws and publishes what is due, or all views that are watched."""
        for stream in self._streams.values():
            now = time.monotonic()
            if not stream.watchers or not (all_due or now >= stream.due):
                continue
            # A late picture does not make the next ones come faster.
            stream.due = max(stream.due + stream.period, now) if not all_due else now + stream.period
            self._publish(stream, step)

    def _publish(self, stream: Stream, step: int) -> None:
        number = int(self._state.camera_fault[self._views.index(stream.view)])
        fault = CAMERA_KINDS[number - 1] if number else None
        stream.frames.set_gone(fault == "camera_gone")
        if fault in ("camera_gone", "camera_stalled"):
            return
        if fault == "camera_black":
            stream.frames.publish(np.zeros((stream.height, stream.width, 3), np.uint8), step)
            return
        if fault != "camera_frozen" or stream.last is None:
            stream.last = self._draw(stream.view, stream.width, stream.height)
            if not self._exact:
                simulated = self._state.get("simulated_clock")
                # With the simulated clock nothing depends on how many pictures there were.
                stream.last = stream.grain.over(stream.last, step if simulated else stream.frames.number)
        stream.frames.publish(stream.last, step)

    def _greet(self, listener: socket.socket) -> None:
        link, _ = listener.accept()
        link.settimeout(1.0)
        try:
            asked = json.loads(link.makefile("r", encoding="utf-8").readline(4096))
            answer = self._subscribe(link, asked)
        except (OSError, ValueError, KeyError, TypeError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        with contextlib.suppress(OSError):
            link.sendall(json.dumps(answer).encode() + b"\n")
        if "error" in answer:
            link.close()
        else:
            self.selector.register(link, selectors.EVENT_READ, self._leave)

    def _subscribe(self, link: socket.socket, asked: dict) -> dict:
        view, width, height = asked["view"], int(asked["width"]), int(asked["height"])
        fps = float(asked["fps"])
        if view not in self._views:
            return {"error": f"there is no view {view!r}; there are {', '.join(self._views)}"}
        if not (1 <= width <= LARGEST and 1 <= height <= LARGEST and 0 < fps <= FASTEST):
            return {"error": f"{width} x {height} at {fps} Hz is out of range"}
        reason = self._accepts(width, height)
        if reason:
            return {"error": reason}
        key = (view, width, height)
        stream = self._streams.get(key) or Stream(self._folder, view, width, height)
        self._streams[key] = stream
        stream.watchers[link] = fps
        self._publish(stream, self._state.get("world_step"))
        stream.due = time.monotonic() + stream.period
        return {"frames": stream.path.name}

    def _leave(self, link: socket.socket) -> None:
        # Readers say nothing after the first line; readable means they have gone.
        self.selector.unregister(link)
        for stream in self._streams.values():
            stream.watchers.pop(link, None)
        link.close()
