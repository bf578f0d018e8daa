# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A planner's server that is no help: it never answers, dribbles, hangs up, or is not there."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

WAYS = ("silent", "dribble", "close", "refuse")


class HungServer:
    """Listens on 127.0.0.1.

    Args:
        how: One of `WAYS`: takes the question and says nothing; sends a header byte by byte; hangs up after the
            question; does not listen at all.

    Attributes:
        url: For ``--policy.planner_url``.
        asked: Connections so far.
    """

    def __init__(self, how: str) -> None:
        if how not in WAYS:
            raise ValueError(f"a server hangs in one of these ways: {', '.join(WAYS)}; got {how!r}")
        self.how, self.asked = how, 0
        self._links: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        if how == "refuse":
            self._socket.close()
        else:
            threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._socket.accept()
                self.asked += 1
                self._links.append(link)
                threading.Thread(target=self._talk, args=(link,), daemon=True).start()

    def _talk(self, link: socket.socket) -> None:
        with contextlib.suppress(OSError):
            link.recv(65536)
            if self.how == "close":
                link.close()
            while self.how == "dribble":
                link.sendall(b"H")
                time.sleep(0.2)

    def close(self) -> None:
        """Ends it, and all connections."""
        self._socket.close()
        for link in self._links:
            link.close()
