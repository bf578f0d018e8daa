# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Says of each episode what a robot could not have done (paper p. 19). Nothing is deleted: an episode is kept, flagged, or
left out of the views, and every rule's verdict and evidence are written down.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lerobot_wallwm.processors.clean.norms import Digest, Norms
from lerobot_wallwm.processors.clean.rules import (
    EPISODE_RULES,
    EXCLUDE,
    FIRST,
    FLAG,
    OK,
    Asked,
    CleanConfig,
    Finding,
    Recording,
    judge_episode,
)
from lerobot_wallwm.processors.motion.kinematics import KinematicsConfig
from lerobot_wallwm.processors.source.episodes import schema_of

FILE_RULES = ("rows", "task", "camera_streams", "video", "video_frames")
NORM_RULES = (
    "discontinuity",
    "robot_limits",
    "workspace",
    "failed_reset",
    "truncated_start",
    "truncated_goal",
)
RULES = (*FILE_RULES, *EPISODE_RULES, *NORM_RULES)

_EPISODE = pa.field("episode_index", pa.int64(), nullable=False)
CLEANING_SCHEMA = schema_of(Finding, {"wallwm_cleaning_version": "1"}).insert(0, _EPISODE)


@dataclass(frozen=True)
class Verdict:
    """All findings of one episode."""

    episode_index: int
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        """The worst of its findings."""
        verdicts = {found.verdict for found in self.findings}
        return next((v for v in (EXCLUDE, FLAG) if v in verdicts), OK)

    def of(self, verdict: str) -> list[Finding]:
        """The findings with this verdict."""
        return [found for found in self.findings if found.verdict == verdict]


class EpisodeCleaner:
    """Judges episodes.

    `cleaner(episode)` returns a `Verdict`. Rules that compare an episode with the others are asked once `fit` has seen
    the others. `min_frames` are those of the shortest event.

    Raises:
        ValueError: `skip` or `exclude` names a rule that does not exist, or one that the rest cannot do without.
    """

    def __init__(
        self,
        config: CleanConfig | None = None,
        kinematics: KinematicsConfig | None = None,
        min_frames: int = 2,
    ) -> None:
        self.config = config or CleanConfig()
        self.asked = Asked(self.config, kinematics or KinematicsConfig(), max(2, min_frames))
        self.norms: Norms | None = None
        for rule in self.config.skip:
            if rule in (*FIRST, "rows", "task", "camera_streams"):
                why = "cannot be skipped: without it an episode cannot be read"
                raise ValueError(f"--clean.skip: {rule!r} {why}. Fix: leave it out")
        for flag in ("skip", "exclude"):
            for rule in getattr(self.config, flag):
                if rule not in RULES:
                    fix = f"Fix: use some of {', '.join(RULES)}"
                    raise ValueError(f"--clean.{flag}: there is no rule {rule!r}. {fix}")

    def fit(self, episodes: Iterable[Recording]) -> EpisodeCleaner:
        """Learns what is usual from episodes that have no fault of their own. Returns itself."""
        sound = [e for e in episodes if all(found.verdict != EXCLUDE for found in self.judge(e))]
        digests = [Digest.of(episode, self.asked.kinematics) for episode in sound]
        self.norms = Norms(digests, sound[0].state.shape[1]) if sound else None
        return self

    def __call__(self, episode: Recording) -> Verdict:
        """See the class."""
        found = self.judge(episode)
        if self.norms is not None and all(f.verdict != EXCLUDE for f in found):
            found += self.apply(self.norms.judge(Digest.of(episode, self.asked.kinematics), self.config))
        return Verdict(episode.index, tuple(found))

    def judge(self, episode: Recording) -> list[Finding]:
        """The findings of the rules that need no other episode, as the configuration has them."""
        return self.apply(judge_episode(episode, self.asked))

    def apply(self, findings: Iterable[Finding]) -> list[Finding]:
        """Leaves out the rules in `skip`, and turns the flags of those in `exclude` into exclusions."""
        kept = [found for found in findings if found.rule not in self.config.skip]
        worse = {found.rule for found in kept if found.verdict == FLAG} & set(self.config.exclude)
        return [replace(found, verdict=EXCLUDE) if found.rule in worse else found for found in kept]


def write_cleaning(verdicts: Sequence[Verdict], path: str | Path) -> None:
    """Writes `cleaning.parquet`: one row per episode and rule that was asked."""
    rows = [{"episode_index": v.episode_index} | vars(found) for v in verdicts for found in v.findings]
    pq.write_table(pa.Table.from_pylist(rows, schema=CLEANING_SCHEMA), path, compression="zstd")
