# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A real HTTP server on 127.0.0.1 that speaks the OpenAI protocol and misbehaves on demand."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import re
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lerobot_wallwm.language.config import VlmConfig
from lerobot_wallwm.processors.source.events import Event

USAGE = {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}


def prompt_text(body: dict) -> str:
    """The words of a request's user message."""
    return next(part["text"] for part in body["messages"][1]["content"] if part["type"] == "text")


def asked_ids(body: dict) -> list[str]:
    """Names of the events that a request asks about."""
    return re.search(r"Caption these events: ([^.]+)\.", prompt_text(body))[1].split(", ")


def told_data(body: dict) -> dict:
    """The data block of a request."""
    return json.loads(re.search(r"<data>\n(.*?)\n</data>", prompt_text(body), re.S)[1])


def good_captions(body: dict) -> dict[str, str]:
    """A caption for each event that depends on the event alone."""
    facts = told_data(body)["events"]
    return {f["id"]: f"{f['kinematic_label']} the red cube for {f['duration_s']} s" for f in facts}


def completion(content: str, **choice) -> bytes:
    """A chat completion around a message."""
    one = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    whole = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "usage": USAGE}
    return json.dumps({**whole, "choices": [{**one, **choice}]}).encode()


@dataclass
class Answer:
    """What the server does with one request."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[BaseHTTPRequestHandler], None] | None = None  # replaces the whole answer


Behaviour = Callable[[dict], Answer]


def says(content: str | Callable[[dict], str], **choice) -> Behaviour:
    """Answers with a message."""
    return lambda body: Answer(completion(content(body) if callable(content) else content, **choice))


def captions(change: Callable[[dict[str, str]], object]) -> Behaviour:
    """Answers with the good captions after `change` has been at them."""

    def behave(body: dict) -> Answer:
        good = good_captions(body)
        changed = change(good)
        return Answer(completion(json.dumps({"captions": good if changed is None else changed})))

    return behave


def fails(status: int, body: bytes = b"no", **headers: str) -> Behaviour:
    """Answers with an error."""
    return lambda _: Answer(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


def raw(act: Callable[[BaseHTTPRequestHandler], None]) -> Behaviour:
    """Does something to the connection instead of answering."""
    return lambda _: Answer(before=act)


good: Behaviour = captions(lambda _: None)


def hang(handler: BaseHTTPRequestHandler) -> None:
    """Never answers."""
    handler.server.released.wait(30)


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Sends a header that never ends, a byte at a time, so that no single read is slow."""
    with contextlib.suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not handler.server.released.wait(0.02):
            handler.wfile.write(b"a")


def drip_body(handler: BaseHTTPRequestHandler) -> None:
    """Sends a body that never ends, a byte at a time."""
    with contextlib.suppress(OSError):
        head = b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + head)
        while not handler.server.released.wait(0.02):
            handler.wfile.write(b" ")


def close(handler: BaseHTTPRequestHandler) -> None:
    """Closes the connection without a word."""
    handler.connection.close()


def cut_body(handler: BaseHTTPRequestHandler) -> None:
    """Promises more bytes than it sends."""
    body = completion('{"captions": {}}')
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(body) + 500) + body)
    handler.wfile.flush()
    handler.connection.close()


def enormous(handler: BaseHTTPRequestHandler) -> None:
    """Sends a gigabyte, as far as anyone reads it."""
    with contextlib.suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        for _ in range(1000):
            handler.wfile.write(b"a" * 1_000_000)


def bomb(handler: BaseHTTPRequestHandler) -> None:
    """Sends 20 MB of blanks in 20 kB."""
    body = gzip.compress(b" " * 20_000_000)
    head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + head + body)


def noise(handler: BaseHTTPRequestHandler) -> None:
    """Speaks no HTTP."""
    handler.wfile.write(bytes(range(256)) * 4)
    handler.connection.close()


class VlmServer:
    """Behaves as `behave(index, attempt)` says, where requests are numbered by their first appearance.

    Attributes:
        bodies: Every request body received, in order.
        headers: Their headers.
        most_at_once: Requests in flight at the same time.
    """

    def __init__(self, behave: Callable[[int, int], Behaviour] = lambda index, attempt: good) -> None:
        self.behave = behave
        self.bodies: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self._now = 0
        self._seen: dict[str, int] = {}
        self._attempts: dict[str, int] = defaultdict(int)
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                received = self.rfile.read(int(self.headers["Content-Length"]))
                with contextlib.suppress(OSError):
                    server._answer(self, json.loads(received))

            def log_message(self, *_: object) -> None:
                pass

        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._httpd.daemon_threads = True
        self._httpd.released = threading.Event()
        self.url = f"http://127.0.0.1:{self._httpd.server_address[1]}/v1"

    def _answer(self, handler: BaseHTTPRequestHandler, body: dict) -> None:
        with self._lock:
            self.bodies.append(body)
            self.headers.append(dict(handler.headers.items()))
            name = hashlib.sha256(json.dumps(body["messages"][:2]).encode()).hexdigest()
            index = self._seen.setdefault(name, len(self._seen))
            self._attempts[name] += 1
            attempt = self._attempts[name]
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            answer = self.behave(index, attempt)(body)
            if answer.before is not None:
                handler.close_connection = True
                answer.before(handler)
                return
            handler.send_response(answer.status)
            for key, value in {"Content-Type": "application/json", **answer.headers}.items():
                handler.send_header(key, value)
            handler.send_header("Content-Length", str(len(answer.body)))
            handler.end_headers()
            handler.wfile.write(answer.body)
        finally:
            with self._lock:
                self._now -= 1

    @contextlib.contextmanager
    def running(self) -> Iterator[VlmServer]:
        """Serves while the block runs."""
        thread = threading.Thread(target=self._httpd.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._httpd.released.set()
            self._httpd.shutdown()
            self._httpd.server_close()
            thread.join()


def config(server: VlmServer, **fields) -> VlmConfig:
    """Settings for a server on this machine: small pictures, short pauses, one request at a time."""
    plain = {"model": "m", "attempts": 2, "backoff_s": 0.01, "timeout_s": 20.0, "concurrency": 1, "tile": 48}
    return VlmConfig(base_url=server.url, **{**plain, **fields})


def kept_answers(cache: Path) -> dict[str, str]:
    """The answers of a captioner's cache as JSON, by key."""
    with contextlib.closing(sqlite3.connect(cache)) as database:
        return dict(database.execute("SELECT key, text FROM kept ORDER BY key"))


def spans(events: list[Event]) -> list[Event]:
    """The events without their words."""
    return [replace(e, caption="", template="") for e in events]
