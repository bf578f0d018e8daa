# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Requests of the stand-in Hub as bytes: reading, answering, and failing as a `Fault` says."""

import json
import re
import socket
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub_repos import READ_TOKEN, TOKEN


class FaultyHandler(BaseHTTPRequestHandler):
    """One connection; a subclass knows the routes."""

    hub: Any
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def answer(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def error(self, status: int, code: str | None = None) -> None:
        headers = {"X-Error-Code": code} if code else {}
        self.answer(status, {"error": code or f"made up {status}"}, headers)

    def cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def handle_request(self) -> None:
        split = urlsplit(self.path)
        path = unquote(split.path)
        self.query = parse_qs(split.query)
        with self.hub.lock:
            self.hub.requests.append((self.command, path))
        fault = self.hub.fault(self.command, path)
        self.fault = fault
        if fault is not None and self.command in ("GET", "HEAD") and (fault.after or fault.lie):
            fault = None  # the answer itself is cut
        length = int(self.headers.get("Content-Length") or 0)
        if fault is not None and not fault.late and not fault.status:
            self.read_some(min(fault.after, length))
            self.cut()
            return
        self.body = self.read_body(length)
        if fault is not None and not fault.late:
            self.error(fault.status)
            return
        if fault is not None:
            self.answer, answer = (lambda *a, **k: None), self.answer  # type: ignore[method-assign]
            self.route(path)
            self.answer = answer  # type: ignore[method-assign]
            self.error(fault.status) if fault.status else self.cut()
            return
        self.route(path)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_request  # noqa: N815

    def read_some(self, length: int) -> bytes:
        data = self.rfile.read(length) if length else b""
        with self.hub.lock:
            self.hub.received += len(data)
        return data

    def read_body(self, length: int) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.read_some(length)
        data = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            data += self.read_some(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def allowed(self, write: bool) -> bool:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if write and token == READ_TOKEN:
            self.error(403)
        elif write and token != TOKEN or token and token not in (TOKEN, READ_TOKEN):
            self.error(401)
        else:
            return True
        return False

    def route(self, path: str) -> None:
        raise NotImplementedError

    def serve(self, data: bytes, headers: dict[str, str]) -> None:
        start, status = 0, 200
        if found := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            start, status = int(found[1]), 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        part = data[start:]
        fault = self.fault
        if fault is not None and fault.lie:
            self.answer(status, part[: fault.after], headers)
        elif fault is not None and fault.after:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(part)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(part[: fault.after])
                self.wfile.flush()
            self.cut()
        else:
            self.answer(status, part, headers)
