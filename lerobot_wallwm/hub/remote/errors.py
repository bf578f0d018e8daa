# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The Hub's answers as one line that says what to do, and patience with a Hub that fails for a moment."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

# huggingface_hub itself repeats uploads of files and look-ups five times (`http_backoff`). It does not repeat these, for
# a commit whose answer is lost would be made twice. Ours may be repeated: identical files make no second commit.
_NOT_REPEATED = ("/commit/", "/repos/create", "/validate-yaml", "/tag/", "/branch/")
_WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds, our choice
LOGIN = "log in with `hf auth login`, or set HF_TOKEN to a token of https://huggingface.co/settings/tokens"


class HubError(ValueError):
    """The Hub did not do what it was asked; the message says what to do."""


def _status_and_url(error: BaseException) -> tuple[int | None, str]:
    import httpx
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, httpx.HTTPStatusError | HfHubHTTPError):
        return error.response.status_code, str(error.response.url)
    try:
        return None, str(error.request.url) if isinstance(error, httpx.RequestError) else ""
    except RuntimeError:  # a request that was never built
        return None, ""


def patiently[T](call: Callable[[], T], doing: str, repo_id: str) -> T:
    """Calls the Hub, repeats what failed for a moment, and turns what remains into a `HubError`.

    ``call`` must be idempotent; ``doing`` ("uploading") and ``repo_id`` are for the message.
    """
    import httpx
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    for wait in (*_WAITS, None):
        try:
            return call()
        except (HfHubHTTPError, httpx.TransportError, OfflineModeIsEnabled, RuntimeError, OSError) as error:
            cause: BaseException = error
            while isinstance(cause, RuntimeError):  # huggingface_hub's own wrapping
                if cause.__cause__ is None:
                    raise
                cause = cause.__cause__
            status, url = _status_and_url(cause)
            busy = isinstance(cause, httpx.TransportError)
            if status is not None:  # 412: somebody else's commit came first
                busy = status in (412, 429) or status >= 500
            if wait is None or not busy or not any(part in url for part in _NOT_REPEATED):
                raise HubError(explain(cause, doing, repo_id)) from error
            logger.warning("%s %s: %s. Trying again in %.0f s.", doing, repo_id, _line(cause), wait)
            time.sleep(wait)
    raise AssertionError("the last wait is None")


def explain(error: BaseException, doing: str, repo_id: str) -> str:
    """One line: what failed, why, and what to do."""
    import httpx
    from huggingface_hub.errors import EntryNotFoundError, OfflineModeIsEnabled, RevisionNotFoundError

    status, url = _status_and_url(error)
    again = "run the same command again; what has been uploaded is not sent twice"
    if isinstance(error, OfflineModeIsEnabled):
        reason, fix = "HF_HUB_OFFLINE is set", "unset it"
    elif isinstance(error, RevisionNotFoundError):
        reason, fix = "there is no such revision", "choose a branch, tag or commit of the repository"
    elif isinstance(error, EntryNotFoundError):
        reason, fix = f"the repository has no such file ({url})", "choose another repository or revision"
    elif status == 401:
        reason, fix = "the Hub does not know your token, or there is no such repository (401)", LOGIN
    elif status == 403:
        reason = "your token may not do this (403)"
        fix = f"use a token with write access to {repo_id.split('/')[0]}, or another --repo_id"
    elif status == 404:
        reason, fix = "there is no such repository (404)", f"check the name; if it is private, {LOGIN}"
    elif status is not None:
        reason = f"the Hub answered {status}"
        wait = status >= 500 or status == 429
        fix = f"wait a while, then {again}" if wait else f"see its answer: {_line(error)}"
    elif isinstance(error, httpx.TransportError):
        reason, fix = f"the connection failed ({_line(error)})", again
    else:
        reason, fix = _line(error), again
    return f"{doing} {repo_id}: {reason}. Fix: {fix}"


def _line(error: BaseException) -> str:
    text = re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]*", r"\1", str(error))  # signed addresses are keys
    return (" ".join(text.split()) or type(error).__name__)[:300]
