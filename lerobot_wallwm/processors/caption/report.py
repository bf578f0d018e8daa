# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What captioning did: where each caption is from, counts, tokens and money, and a few lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lerobot_wallwm.language.client import Outcome, Usage, VlmClient
from lerobot_wallwm.processors.source.episodes import schema_of


@dataclass(frozen=True, slots=True)
class CaptionRecord:
    """Provenance of one event's caption.

    Attributes:
        caption_source: `vlm` or `kinematic`.
        caption: The caption in the event table.
        fallback_reason: Why the caption is kinematic (`timeout`, `http_500`, `schema`, ...); empty for `vlm`.
        request: SHA-256 of the prompt, the key of its answer in the cache; empty if no prompt could be made.
        attempts: How often the request was sent; 0 if it never was.
    """

    event_id: int
    episode_index: int
    level: str
    caption_source: str
    caption: str
    kinematic_caption: str
    fallback_reason: str
    model: str
    request: str
    attempts: int


SCHEMA = schema_of(CaptionRecord, {"wallwm_captions_version": "1"})


@dataclass
class Result:
    """How one request ended. `key` is the prompt's hash, empty if none could be made; `kept`: in an earlier run."""

    outcome: Outcome = field(default_factory=Outcome)
    key: str = ""
    kept: bool = False

    @property
    def captions(self) -> dict[str, str]:
        """Span id to accepted caption."""
        return self.outcome.checked.captions if self.outcome.checked is not None else {}

    def reason(self, span: str) -> str:
        """Why a span has no caption; empty where it has one."""
        if span in self.captions:
            return ""
        refused = self.outcome.checked.refused if self.outcome.checked is not None else {}
        return refused.get(span) or self.outcome.reason or "missing"


def make_report(
    client: VlmClient,
    cache: Path,
    records: Sequence[CaptionRecord],
    results: Sequence[Result],
    cameras: Mapping[str, int],
) -> dict[str, Any]:
    """Counts: what this run asked and spent, what earlier runs had, and what fell back and why.

    There is a record per event and a result per request; `cameras` without readable frames have the number of requests.
    """
    config, spent, kept = client.config, client.usage, Usage()
    examples: dict[str, str] = {}
    for result in results:
        if result.kept:
            kept.prompt_tokens += result.outcome.usage.prompt_tokens
            kept.completion_tokens += result.outcome.usage.completion_tokens
        if result.outcome.reason and not result.captions:
            examples.setdefault(result.outcome.reason, result.outcome.detail)
    sources = Counter(record.caption_source for record in records)
    reasons = Counter(record.fallback_reason for record in records if record.fallback_reason)
    return {
        "model": config.model,
        "base_url": config.base_url,
        "answers": str(cache),
        "events_vlm": sources["vlm"],
        "events_kinematic": sources["kinematic"],
        "fallback_reasons": dict(sorted(reasons.items())),
        "examples": dict(sorted(examples.items())),
        "requests": len(results),
        "requests_kept": sum(result.kept for result in results),
        "requests_answered": sum(bool(result.captions) and not result.kept for result in results),
        "requests_failed": sum(not result.captions for result in results),
        "attempts": spent.attempts,
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "answers_without_token_counts": spent.unknown,
        "cost": round(spent.cost(config), 6),
        "kept_prompt_tokens": kept.prompt_tokens,
        "kept_completion_tokens": kept.completion_tokens,
        "kept_cost": round(kept.cost(config), 6),
        "cameras_without_frames": dict(sorted(cameras.items())),
        "gave_up": client.gave_up,
    }


def report_lines(report: Mapping[str, Any] | None) -> list[str]:
    """The report in a few lines; none for a run without a model."""
    if not report:
        return []
    cost = f", cost {report['cost']:.4f}" if report["cost"] else ""
    cost += f" ({report['kept_cost']:.4f} in earlier runs)" if report["kept_cost"] else ""
    lines = [
        f"captions: {report['events_vlm']} by {report['model']}, {report['events_kinematic']} kinematic; "
        f"{report['requests']} requests, {report['requests_kept']} answered in earlier runs, "
        f"{report['requests_failed']} failed",
        f"          {report['attempts']} attempts, {report['prompt_tokens']} prompt and "
        f"{report['completion_tokens']} answer tokens{cost}",
    ]
    for reason, count in report["fallback_reasons"].items():
        example = report["examples"].get(reason, "")
        lines.append(f"warning: {count} events keep their kinematic caption: {reason} {example}".rstrip())
    for camera, count in report["cameras_without_frames"].items():
        lines.append(f"warning: camera {camera} had no readable frames in {count} requests")
    if report["gave_up"]:
        lines.append(f"warning: stopped asking: {report['gave_up']}. Run again to ask for the rest")
    elif report["requests_failed"]:
        lines.append("warning: run again to ask for what failed; answers are kept")
    return lines
