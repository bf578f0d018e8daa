# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Captions from a vision-language model, with the kinematic captions under them as the safety net.

The events come from the segmenter and keep their spans, labels, parents and confidence; only caption and template
change, and only where the model's answer passed every check. Everything else keeps its kinematic caption, and
`captions.parquet` says why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lerobot_wallwm.language.answers import Checked
from lerobot_wallwm.language.caption_text import RefusedCaptionError, clean_caption, plain_line
from lerobot_wallwm.language.client import Outcome, Usage, VlmClient
from lerobot_wallwm.language.config import VlmConfig
from lerobot_wallwm.language.instruction import slot_template
from lerobot_wallwm.processors.caption.prompt import PromptBuilder, parse_answer
from lerobot_wallwm.processors.caption.report import CaptionRecord, Result, make_report
from lerobot_wallwm.processors.caption.requests import CaptionRequest, plan_requests, shared_captions
from lerobot_wallwm.processors.motion.kinematics import KinematicsConfig
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import Event, by_episode
from lerobot_wallwm.storage.errors import DataError
from lerobot_wallwm.storage.kept_results import KeptResults

logger = logging.getLogger(__name__)


class KeptAnswer(BaseModel):
    """One answer: captions as accepted and reasons for refusing the others, by span id. No other word is kept.

    It is kept under the request's hash; `usage` is of all attempts.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    model: str
    captions: dict[str, str] = Field(min_length=1)
    refused: dict[str, str]
    usage: Usage


@dataclass(frozen=True)
class Captioned:
    """What `VlmCaptioner` gives: the table with new captions, same order and spans, a record per event, and counts."""

    events: list[Event]
    records: list[CaptionRecord]
    report: dict[str, Any]


class VlmCaptioner:
    """Captions events by asking a vision-language model: `captioner(source, events)` gives `Captioned`.

    Args:
        config: Server and settings; `model` must be given.
        cache: File in which the answers are kept (`VlmConfig.cache` where None).
        kinematics: How state and action are read; the same as the segmenter's.

    Raises:
        ValueError: No model or no cache file is given, or the client cannot be used (`VlmClient`).
    """

    def __init__(
        self, config: VlmConfig, cache: str | Path | None = None, kinematics: KinematicsConfig | None = None
    ) -> None:
        cache = cache or config.cache
        if not config.model:
            fix = "pass the model's name on the server, as its /v1/models lists it"
            raise ValueError(f"--vlm.model is not set. Fix: {fix}")
        if cache is None:
            raise ValueError("--vlm.cache is not set. Fix: pass a file for the answers")
        VlmClient(config)  # refuses a missing package and a wrong key before any long work
        self.config, self.cache = config, Path(cache)
        self.kinematics = kinematics or KinematicsConfig()

    def __call__(
        self,
        source: SourceDataset,
        events: Sequence[Event],
        progress: Callable[[int, int], object] | None = None,
    ) -> Captioned:
        """Captions all events. What a server or a video does wrong ends in a fallback, never in an exception.

        `events` have kinematic captions and unique ids; `DataError` if one lies outside the dataset. `progress` is called
        with (requests done since the last call, requests in all).
        """
        groups = by_episode(events)
        if unknown := set(groups) - set(source.episode_indices):
            what, fix = "has events but is not in the dataset", "caption the events' own dataset"
            raise DataError(source.root, f"episode_index {min(unknown)}", what, fix)
        requests: list[CaptionRequest] = []
        for episode in sorted(groups):
            requests += plan_requests(groups[episode], self.config.max_spans, self.config.max_frames)
        builder = PromptBuilder(source, self.config, self.kinematics)
        progress = progress or (lambda done, total: None)
        progress(0, len(requests))
        results, client = _run(self._ask_all(requests, builder, progress))
        return self._merge(events, requests, results, builder, client)

    async def _ask_all(
        self, requests: list[CaptionRequest], builder: PromptBuilder, progress: Callable[[int, int], object]
    ) -> tuple[list[Result], VlmClient]:
        cache = KeptResults(self.cache, self._cannot_keep)
        results = [Result() for _ in requests]
        waiting: Iterator[int] = iter(range(len(requests)))

        async def work(client: VlmClient) -> None:
            for i in waiting:  # shared by the workers: each takes the next one
                results[i] = await self._ask(requests[i], builder, client, cache)
                progress(1, len(requests))

        async with VlmClient(self.config) as client, asyncio.TaskGroup() as group:
            for _ in range(min(self.config.concurrency, len(requests))):
                group.create_task(work(client))
        cache.close()
        return results, client

    async def _ask(
        self, request: CaptionRequest, builder: PromptBuilder, client: VlmClient, cache: KeptResults
    ) -> Result:
        try:
            prompt = await asyncio.to_thread(builder, request)
        except DataError as error:
            return Result(Outcome(reason="unreadable", detail=plain_line(str(error), 300)))
        if (kept := self._still_good(cache.get(prompt.key), request)) is not None:
            return Result(kept, prompt.key, kept=True)
        longest = self.config.max_caption
        outcome = await client.ask(prompt, lambda text: parse_answer(text, request.ids, longest))
        if outcome.checked is not None:
            answer = KeptAnswer(model=self.config.model, **vars(outcome.checked), usage=outcome.usage)
            cache.put(prompt.key, answer.model_dump_json())
        return Result(outcome, prompt.key)

    def _still_good(self, text: str | None, request: CaptionRequest) -> Outcome | None:
        """A kept answer that passes the checks of a fresh one, or None: a damaged one costs a request and nothing else."""
        try:
            kept = KeptAnswer.model_validate_json(text or "")
            if any(clean_caption(text, self.config.max_caption) != text for text in kept.captions.values()):
                return None
        except (ValidationError, RefusedCaptionError):
            return None
        if sorted([*kept.captions, *kept.refused]) != sorted(request.ids):
            return None
        refused = {name: plain_line(why, 40) for name, why in kept.refused.items()}
        return Outcome(Checked(kept.captions, refused), usage=kept.usage)

    def _cannot_keep(self, error: Exception) -> None:
        logger.warning(
            f"--vlm.cache={self.cache} cannot be used ({error}): the captions are made, but a second run asks again. "
            "Fix: free the disk, remove the file, or name another one"
        )

    def _merge(
        self,
        events: Sequence[Event],
        requests: Sequence[CaptionRequest],
        results: Sequence[Result],
        builder: PromptBuilder,
        client: VlmClient,
    ) -> Captioned:
        pairs = zip(requests, results, strict=True)
        asked = {s.event.event_id: (s.id, result) for request, result in pairs for s in request.spans}
        shared = shared_captions(events)
        told, records = [], []
        for event in events:
            name, result = asked[shared.get(event.event_id, event.event_id)]
            caption = result.captions.get(name, "")
            records.append(
                CaptionRecord(
                    event_id=event.event_id,
                    episode_index=event.episode_index,
                    level=event.level,
                    caption_source="vlm" if caption else "kinematic",
                    caption=caption or event.caption,
                    kinematic_caption=event.caption,
                    fallback_reason=result.reason(name),
                    model=self.config.model,
                    request=result.key,
                    attempts=result.outcome.usage.attempts,
                )
            )
            if caption:
                slots = builder.slots(event)
                event = replace(event, caption=caption, template=slot_template(caption, slots))
            told.append(event)
        report = make_report(client, self.cache, records, results, builder.missing)
        return Captioned(told, records, report)


def _run(work: Any) -> Any:
    """Runs a coroutine, also where an event loop already runs, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
