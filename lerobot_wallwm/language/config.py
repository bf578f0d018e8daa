# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Settings of the vision-language captioner: which server, how patiently it is asked, what it is shown."""

from __future__ import annotations

import ipaddress
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lerobot_wallwm.storage.errors import check_fields

RESPONSE_FORMATS = ("auto", "json_schema", "json_object", "text")


@dataclass
class VlmConfig:
    """`--vlm.*` of `wallwm prepare --captioner=vlm`."""

    # An OpenAI-compatible server, up to and with /v1: vLLM, SGLang, llama.cpp, transformers serve, a hosted one.
    base_url: str = "http://127.0.0.1:8000/v1"
    # The model's name on that server.
    model: str = ""
    # Environment variable that holds the API key. The key is read when the run starts and written nowhere. Not
    # OPENAI_API_KEY by default, so that it is never sent to a server it was not meant for.
    api_key_env: str = "WALLWM_VLM_API_KEY"
    # SQLite file in which every answer is kept; a later run takes them from there. Default: <out.root>.vlm_answers.sqlite.
    cache: Path | None = None
    # Seconds for one attempt, from the connection to the last byte.
    timeout_s: float = 120.0
    # How often a request is sent before its events keep their kinematic captions.
    attempts: int = 3
    # First pause between attempts, seconds; doubles each time, with jitter.
    backoff_s: float = 1.0
    # Longest pause between attempts, seconds. A server that asks for a longer one (Retry-After) is not asked again.
    max_wait_s: float = 60.0
    # Requests in flight.
    concurrency: int = 4
    # Failed requests in a row after which the server is asked no more in this run.
    give_up_after: int = 20
    # Longest answer, tokens.
    max_tokens: int = 2048
    # 0 gives the same answer each time on most servers.
    temperature: float = 0.0
    # How the schema is demanded: json_schema, json_object, text, or auto, which starts with json_schema and steps
    # down where the server refuses it. The answer is checked alike in all of them.
    response_format: str = "auto"
    # More fields of the request's body, such as '{"chat_template_kwargs": {"enable_thinking": false}}'. A null takes
    # a field away.
    extra_body: dict[str, Any] = field(default_factory=dict)
    # Events that one request asks about; a longer episode takes several requests.
    max_spans: int = 16
    # Moments on a contact sheet, each shown by all cameras. At least max_spans.
    max_frames: int = 24
    # Width of one camera's picture on the sheet, pixels.
    tile: int = 224
    # Longest caption, characters.
    max_caption: int = 160
    # Price of a million prompt tokens, in any currency.
    price_in: float = 0.0
    # Price of a million answer tokens.
    price_out: float = 0.0
    # Ask no more once this run has cost so much; needs the prices. 0: no limit.
    max_cost: float = 0.0

    def __post_init__(self) -> None:
        """Refuses values out of range, naming the flag."""
        self._check_url()
        counts = ("attempts", "concurrency", "give_up_after", "max_tokens", "max_spans", "max_frames")
        check_fields(self, "vlm", "at least 1", lambda value: value >= 1, *counts)
        check_fields(self, "vlm", "above 0 and finite", lambda value: 0 < value < math.inf, "timeout_s")
        limits = ("backoff_s", "max_wait_s", "temperature", "price_in", "price_out", "max_cost")
        check_fields(self, "vlm", "at least 0 and finite", lambda value: 0 <= value < math.inf, *limits)
        check_fields(self, "vlm", "32 to 1024 pixels", lambda value: 32 <= value <= 1024, "tile")
        check_fields(self, "vlm", "16 to 1000 characters", lambda value: 16 <= value <= 1000, "max_caption")
        formats = f"one of {', '.join(RESPONSE_FORMATS)}"
        check_fields(self, "vlm", formats, RESPONSE_FORMATS.__contains__, "response_format")
        if self.max_frames < self.max_spans:
            raise ValueError(
                f"--vlm.max_frames={self.max_frames} must be at least --vlm.max_spans={self.max_spans}. "
                "Fix: every event needs a picture"
            )
        if self.max_cost and not (self.price_in or self.price_out):
            raise ValueError("--vlm.max_cost needs --vlm.price_in and --vlm.price_out. Fix: pass the prices")
        for name in ("messages", "model", "stream", "n"):
            if name in self.extra_body:
                raise ValueError(f"--vlm.extra_body must not set {name!r}, which this package sets itself")
        try:
            json.dumps(self.extra_body, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"--vlm.extra_body cannot be written as JSON ({error})") from error

    def _check_url(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"--vlm.base_url must start with http:// or https:// and name a host, got {self.base_url!r}. "
                "Fix: e.g. http://127.0.0.1:8000/v1"
            )
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "--vlm.base_url must hold no password, query or fragment, because it is written to summary.json. "
                "Fix: put the key into the environment variable that --vlm.api_key_env names"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether the server runs on this machine; it is then reached without the environment's proxies."""
        host = urlsplit(self.base_url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def api_key(self) -> str:
        """The key from the environment, empty where it is not set; refuses what no HTTP header may hold."""
        key = os.environ.get(self.api_key_env, "").strip()
        if not key.isascii() or not key.isprintable():
            problem = f"{self.api_key_env} holds characters that no header may hold. Fix: set it again"
            raise ValueError(f"--vlm.api_key_env: {problem}")
        return key
