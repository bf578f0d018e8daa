# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Asks an OpenAI-compatible server through the `openai` package, and expects the worst of it.

One attempt is bounded in time (all of it: connecting, waiting, a server that drips bytes) and in size; a request is
bounded in attempts and pauses; a run stops asking a server that only fails. Nothing here raises for what a server does:
every request ends as an `Outcome`.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from lerobot_wallwm.language.answers import AnswerError, Checked, parse_completion
from lerobot_wallwm.language.caption_text import plain_line
from lerobot_wallwm.language.config import VlmConfig

MAX_BODY = 1 << 20  # bytes; a full answer of 2048 tokens is some 10 kB
_MAX_ERROR_BODY = 4096
_RETRY = frozenset({408, 409, 425, 429})  # and every 5xx
_HOPELESS = frozenset({401, 402, 403, 404, 405})  # the next request will fare no better
_STEPS = {"json_schema": "json_object", "json_object": "text"}
_ABOUT_FORMAT = ("response_format", "json_schema", "json_object", "guided", "grammar")
_SAY_AGAIN = (
    "Your last answer was refused ({reason}). Answer again: one JSON object of exactly the form asked for, every id "
    "once, plain one-line captions, and nothing else."
)


@dataclass(frozen=True)
class Prompt:
    """A request: its messages with the sheet as a data URI, and the JSON schema of the answer.

    `key` is the SHA-256 of everything that decides the answer: model, settings, words and the sheet's pixels.
    """

    key: str
    messages: list[dict[str, Any]]
    schema: dict[str, Any]


def data_block(data: Any) -> str:
    """JSON between `<data>` and `</data>`, in which no string can end the block."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return f"<data>\n{text}\n</data>"


@dataclass(eq=False)
class _FailedAttemptError(Exception):
    """One attempt that gave no answer."""

    # `timeout`, `connection`, `http_<status>`, `rate_limited`, `too_large`, `encoding`, a reason of `AnswerError`, or
    # `secret` (the answer held the key).
    reason: str
    detail: str = ""  # the server's own words or the library's
    again: bool = True  # whether to try again
    wait_s: float | None = None  # how long the server wants to be left alone; None if it does not say
    content: bool = False  # whether it was the answer's content that was refused
    plainer: bool = False  # whether the server refused the response format


@dataclass
class Usage:
    """What requests cost."""

    attempts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unknown: int = 0  # answers for which the server gave no token counts

    def add(self, tokens: tuple[int, int] | None) -> None:
        """Counts one answer."""
        prompt, answer = tokens or (0, 0)
        self.prompt_tokens += prompt
        self.completion_tokens += answer
        self.unknown += tokens is None

    def cost(self, config: VlmConfig) -> float:
        """In the currency of the prices."""
        return (self.prompt_tokens * config.price_in + self.completion_tokens * config.price_out) / 1e6


@dataclass
class Outcome:
    """How a request ended: its captions or None, why there are none (or the last attempt was refused), and its cost."""

    checked: Checked | None = None
    reason: str = ""
    detail: str = ""
    usage: Usage = field(default_factory=Usage)


class VlmClient:
    """An asynchronous client; use it as `async with VlmClient(config) as client`.

    Attributes:
        gave_up: Why the server is asked no more, or empty.
        usage: Of all requests so far.

    Raises:
        ValueError: `openai` is not installed, or the key holds characters that no header may hold.
    """

    def __init__(self, config: VlmConfig) -> None:
        try:
            # Here and not at the first question: importing it takes seconds, which no tick of a rollout may wait for.
            import openai
            import openai.resources.chat.completions
        except ImportError as error:
            raise ValueError(
                "a vision-language model is asked through the `openai` package, which is not installed. "
                "Fix: pip install 'lerobot_policy_wallwm[vlm]'"
            ) from error
        self._package, self.config = openai, config
        self.gave_up, self.usage = "", Usage()
        self._key = config.api_key()
        self._failed_in_a_row = 0
        self._format = "json_schema" if config.response_format == "auto" else config.response_format
        self._openai: Any = None

    async def __aenter__(self) -> VlmClient:
        config = self.config
        omit: Any = self._package.Omit()
        self._openai = self._package.AsyncOpenAI(
            base_url=config.base_url,
            api_key=self._key,
            max_retries=0,  # `ask` tries again, also for an answer that cannot be used
            # What this package would take from the environment is meant for another server.
            default_headers={
                "Accept-Encoding": "identity",
                "OpenAI-Organization": omit,
                "OpenAI-Project": omit,
            },
            http_client=httpx.AsyncClient(
                timeout=None,  # each attempt as a whole is timed instead
                limits=httpx.Limits(max_connections=config.concurrency),
                follow_redirects=False,  # a redirect would carry the key elsewhere
                trust_env=not config.is_loopback,
                # Without TLS there is nothing to verify, and reading the certificates takes longer than a sheet.
                verify=config.base_url.startswith("https:"),
                event_hooks={"response": [_bound]},
            ),
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._openai.close()

    async def ask(self, prompt: Prompt, check: Callable[[str], Checked]) -> Outcome:
        """Sends a request until its answer passes or its attempts are used up.

        `check` turns an answer into captions, or raises `AnswerError`. Where it passes only some captions, the request is
        tried again, and the best answer counts in the end.
        """
        outcome = Outcome()
        rng = random.Random(prompt.key)
        again = ""
        for attempt in range(1, self.config.attempts + 1):
            if self.gave_up:
                outcome.reason, outcome.detail = outcome.reason or "gave_up", outcome.detail or self.gave_up
                break
            outcome.usage.attempts += 1
            try:
                text = await self._send(prompt, again, outcome.usage)
                try:
                    checked = check(text)
                except AnswerError as error:
                    raise _FailedAttemptError(error.reason, text, content=True) from error
                if self._is_secret and any(self._key in caption for caption in checked.captions.values()):
                    raise _FailedAttemptError("secret", content=True)
                if outcome.checked is None or len(checked.captions) > len(outcome.checked.captions):
                    outcome.checked = checked
                outcome.reason, outcome.detail = next(iter(checked.refused.values()), ""), ""
                if not checked.refused:
                    break
                again = outcome.reason
            except _FailedAttemptError as failed:
                outcome.reason, outcome.detail = failed.reason, plain_line(failed.detail, 200)
                again = failed.reason if failed.content else ""
                if not failed.again:
                    break
                if attempt < self.config.attempts and not await self._pause(attempt, failed, rng):
                    break
        self._count(outcome)
        return outcome

    def _count(self, outcome: Outcome) -> None:
        """Adds up what was spent, and stops asking a server that only fails or has become too dear."""
        config, spent = self.config, outcome.usage
        for name, count in vars(spent).items():
            setattr(self.usage, name, getattr(self.usage, name) + count)
        if outcome.checked is not None:
            self._failed_in_a_row = 0
        elif spent.attempts:
            self._failed_in_a_row += 1
        if self.gave_up:
            return
        if outcome.reason in {f"http_{status}" for status in _HOPELESS}:
            self.gave_up = f"the server answered {outcome.reason[5:]} {outcome.detail}".strip()
        elif self._failed_in_a_row >= config.give_up_after:
            self.gave_up = f"{self._failed_in_a_row} requests in a row failed, the last with {outcome.reason}"
        elif config.max_cost and self.usage.cost(config) >= config.max_cost:
            cost = self.usage.cost(config)
            self.gave_up = f"this run has cost {cost:.4f}, --vlm.max_cost={config.max_cost:g}"

    async def _pause(self, attempt: int, failed: _FailedAttemptError, rng: random.Random) -> bool:
        """Waits before the next attempt: doubling, with full jitter, and never shorter than the server asked for.

        False if the server wants to be left alone for longer than `max_wait_s`.
        """
        config = self.config
        if failed.wait_s is not None and failed.wait_s > config.max_wait_s:
            return False
        longest = min(config.max_wait_s, config.backoff_s * 2.0 ** min(attempt - 1, 60))
        wait = max(rng.uniform(0, longest), failed.wait_s or 0.0)
        if not failed.content:
            await asyncio.sleep(wait)
        return True

    def _request(self, prompt: Prompt, again: str, response_format: str) -> dict[str, Any]:
        """Arguments of `chat.completions.create`."""
        config = self.config
        messages = list(prompt.messages)
        if again:
            messages.append({"role": "user", "content": _SAY_AGAIN.format(reason=again)})
        body: dict[str, Any] = {"max_tokens": config.max_tokens, "temperature": config.temperature}
        if response_format == "json_schema":
            schema = {"name": "captions", "strict": True, "schema": prompt.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif response_format == "json_object":
            body["response_format"] = {"type": "json_object"}
        body = {name: value for name, value in (body | config.extra_body).items() if value is not None}
        return {"model": config.model, "messages": messages, "extra_body": body}

    async def _send(self, prompt: Prompt, again: str, usage: Usage) -> str:
        """One attempt; steps down to a plainer response format where the server refuses the one asked for."""
        assert self._openai is not None, "use `async with VlmClient(...)`"
        create = self._openai.chat.completions.with_raw_response.create
        while True:
            sent = self._format
            try:
                async with asyncio.timeout(self.config.timeout_s):
                    body = (await create(**self._request(prompt, again, sent))).content
                break
            except TimeoutError as error:
                detail = f"no answer within {self.config.timeout_s:g} s"
                raise _FailedAttemptError("timeout", detail) from error
            except self._package.APIStatusError as error:
                failed = self._refused(error.response)
                if not (failed.plainer and self.config.response_format == "auto" and sent in _STEPS):
                    raise failed from error
                if self._format == sent:
                    self._format = _STEPS[sent]
            except self._package.APIConnectionError as error:
                cause = error.__cause__
                if isinstance(cause, _FailedAttemptError):  # of `_bound`
                    raise cause from None
                detail = self._redact(f"{type(cause).__name__}: {cause}")
                raise _FailedAttemptError("connection", detail) from error
        try:
            completion = parse_completion(body)
        except AnswerError as error:
            usage.add(None)
            detail = self._redact(body[:_MAX_ERROR_BODY].decode("utf-8", "replace"))
            raise _FailedAttemptError(error.reason, detail) from error
        usage.add(completion.tokens())
        choice = completion.choices[0]
        content = self._redact(choice.message.content)
        if choice.finish_reason in ("length", "content_filter"):
            reason = "cut_off" if choice.finish_reason == "length" else "content_filter"
            raise _FailedAttemptError(reason, content, content=True)
        return content

    def _refused(self, response: httpx.Response) -> _FailedAttemptError:
        status, detail = response.status_code, self._redact(response.text)
        reason = "rate_limited" if status == 429 else f"http_{status}"
        again = status in _RETRY or (status >= 500 and status != 501)
        plainer = status in (400, 422, 501) and any(word in detail for word in _ABOUT_FORMAT)
        wait_s = retry_seconds(response.headers.get("retry-after"))
        return _FailedAttemptError(reason, detail, again, wait_s, plainer=plainer)

    def _redact(self, text: str) -> str:
        """Takes the key out of what a server says, before anything of it is kept: it may repeat what it was sent."""
        return text.replace(self._key, "[key]") if self._is_secret else text

    @property
    def _is_secret(self) -> bool:
        return len(self._key) >= 8  # local servers are given words such as EMPTY


class _Bounded(httpx.AsyncByteStream):
    """The body of a response, of which no more than a limit is read."""

    def __init__(self, response: httpx.Response) -> None:
        self.stream, self.fine = response.stream, response.status_code == 200

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self.stream, httpx.AsyncByteStream)
        left = limit = MAX_BODY if self.fine else _MAX_ERROR_BODY
        async for chunk in self.stream:
            yield chunk[:left]
            left -= len(chunk)
            if left < 0 and self.fine:
                raise _FailedAttemptError("too_large", f"more than {limit} bytes")
            if left < 0:
                return

    async def aclose(self) -> None:
        assert isinstance(self.stream, httpx.AsyncByteStream)
        await self.stream.aclose()


async def _bound(response: httpx.Response) -> None:
    # Compressed bytes could unfold to any size; none were asked for.
    encoding = response.headers.get("content-encoding", "")
    if encoding.lower() not in ("", "identity"):
        raise _FailedAttemptError("encoding", encoding)
    response.stream = _Bounded(response)


def retry_seconds(header: str | None) -> float | None:
    """Seconds of a Retry-After header (a number or a date); None if it is absent or makes no sense."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, OverflowError, OSError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
