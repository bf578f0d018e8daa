# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A planner's server that is no help any more, or never was: it does not answer, dribbles, hangs up, or is not there."""

import contextlib
import json
import socket
import threading
import time

WAYS = ("silent", "dribble", "close", "refuse")
# What it answers in turn, while it does.
CAPTIONS = ("swing to the left", "swing to the right")


class HungServer:
    """Listens on 127.0.0.1.

    Args:
        how: One of `WAYS`: takes the question and says nothing; sends a header byte by byte; hangs up after the
            question; does not listen at all.
        answers: Questions that it answers before, each with the next of `CAPTIONS`.

    Attributes:
        url: For ``--policy.planner_url``.
        asked: Questions so far; one to a server that does not listen is not seen.
    """

    def __init__(self, how: str, answers: int = 0) -> None:
        if how not in WAYS:
            raise ValueError(f"a server hangs in one of these ways: {', '.join(WAYS)}; got {how!r}")
        self.how, self.answers, self.asked = how, answers, 0
        self._links: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        if how == "refuse" and not answers:
            self._socket.close()
        else:
            threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._socket.accept()
                self._links.append(link)
                threading.Thread(target=self._talk, args=(link,), daemon=True).start()

    def _talk(self, link: socket.socket) -> None:
        with contextlib.suppress(OSError):
            _read_question(link)
            self.asked += 1
            if self.asked <= self.answers:
                if self.how == "refuse" and self.asked == self.answers:
                    _stop_listening(self._socket)  # before the answer, or a quick client finds it listening
                link.sendall(_answer(CAPTIONS[self.asked % len(CAPTIONS)]))
                link.close()
            elif self.how == "close":
                link.close()
            while self.asked > self.answers and self.how == "dribble":
                link.sendall(b"H")
                time.sleep(0.2)

    def close(self) -> None:
        """Ends it, and all connections."""
        _stop_listening(self._socket)
        for link in self._links:
            link.close()


def _read_question(link: socket.socket) -> None:
    """Reads one HTTP request with its body."""
    data = b""
    while b"\r\n\r\n" not in data and (more := link.recv(65536)):
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    fields = (line.partition(b":") for line in head.lower().splitlines())
    length = next((int(value) for name, _, value in fields if name == b"content-length"), 0)
    while len(body) < length and (more := link.recv(65536)):
        body += more


def _answer(caption: str) -> bytes:
    """An OpenAI-compatible answer that the next event is this one."""
    said = json.dumps({"decision": "Next", "event": caption})
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
    body = json.dumps({"id": "1", "object": "chat.completion", "model": "none", "choices": [choice]}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def _stop_listening(server: socket.socket) -> None:
    """Closing alone would leave a thread that waits in `accept` listening."""
    with contextlib.suppress(OSError):
        server.shutdown(socket.SHUT_RDWR)
    server.close()
