# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Says of each episode what a robot could not have done (paper p. 19): rules about an episode and about a dataset's files.

Nothing is deleted: an episode is kept, flagged, or left out of the views, and every rule's verdict and evidence are
written down. Videos are missing, truncated or damaged episode by episode, for one file holds many: all packets of a file
are counted, which reads it but decodes nothing; of each episode the first and the last frame are decoded, or all.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
    finding,
    judge_episode,
)
from lerobot_wallwm.processors.source.episodes import ACTION, STATE, SourceDataset, schema_of, values_of
from lerobot_wallwm.storage.errors import DataError
from lerobot_wallwm.storage.kept_results import KeptResults


class VideoFile:
    """A video file that may be bad. Nothing here raises for that: what can be read still counts.

    Attributes:
        times: (N,) seconds of the frames whose packets are whole, ascending.
        missing: There is no such file.
        problem: What is wrong with the file, in one clause; empty if nothing is.
    """

    def __init__(self, path: Path) -> None:
        import av

        self.path, self.times, self.missing = path, np.array([]), not path.is_file()
        self.problem = "is missing" if self.missing else ""
        self._container: Any = None
        self._stream: Any = None
        if self.missing:
            return
        times: list[int] = []
        try:
            self._container = av.open(str(path))
            if not self._container.streams.video:
                self.problem = "holds no video stream"
                return
            self._stream = self._container.streams.video[0]
            if self._stream.time_base is None:
                self.problem = "the video has no time base"
                return
            # A seek empties the decoder, and one with many threads fills up again before it gives its first frame.
            self._stream.codec_context.thread_count = 1
            size = path.stat().st_size
            for packet in self._container.demux(self._stream):
                # The index of a cut file still lists what is gone: such packets come short.
                cut = packet.is_corrupt or (packet.pos is not None and packet.pos + packet.size > size)
                if packet.pts is not None and not cut:
                    times.append(packet.pts)
        except (av.error.FFmpegError, OSError) as error:
            self.problem = f"the video is truncated or damaged ({_reason(error)})"
        if self._stream is not None and self._stream.time_base is not None:
            self.times = np.sort(np.array(times, dtype=np.float64)) * float(self._stream.time_base)

    def close(self) -> None:
        """Closes the file."""
        if self._container is not None:
            self._container.close()

    def count(self, start_s: float, end_s: float, fps: float) -> int:
        """Frames whose packets are there in `[start_s, end_s)`."""
        low, high = np.searchsorted(self.times, (start_s - 0.5 / fps, end_s - 0.5 / fps))
        return int(high - low)

    def decode_problem(self, start_s: float, end_s: float, fps: float, every: bool = False) -> str:
        """Decodes the first and the last frame of `[start_s, end_s)`, or `every` one. Returns what is wrong, or nothing."""
        import av

        last_s = end_s - 1.0 / fps
        if self.count(start_s, end_s, fps) == 0:
            until = float(self.times[-1]) if len(self.times) else 0.0
            return self.problem or f"ends at {until:.3f} s, but the episode needs a frame at {last_s:.3f} s"
        try:
            for wanted in (start_s,) if every else (start_s, last_s):
                until = last_s if every else wanted
                reached, count = self._decode(wanted, until, start_s, end_s, fps)
                if reached < until - 0.5 / fps:
                    return f"ends at {max(reached, 0):.3f} s, but the episode needs a frame at {until:.3f} s"
                if every and count < round((end_s - start_s) * fps):
                    return f"only {count} frames of the episode decode"
        except (av.error.FFmpegError, OSError) as error:
            return f"the video is truncated or damaged ({_reason(error)})"
        return ""

    def _decode(
        self, wanted: float, until: float, start_s: float, end_s: float, fps: float
    ) -> tuple[float, int]:
        """Decodes from a moment until another. Returns the last time reached, and how many frames lie in the episode."""
        base = float(self._stream.time_base)
        self._container.seek(max(0, int((wanted - 0.25 / fps) / base)), stream=self._stream, backward=True)
        reached, count = -1.0, 0
        for frame in self._container.decode(self._stream):
            if frame.pts is None:
                continue
            at = frame.pts * base
            reached = max(reached, at)
            count += start_s - 0.5 / fps <= at < end_s - 0.5 / fps
            if reached >= until - 0.5 / fps:
                break
        return reached, count


def _reason(error: Exception) -> str:
    """The error without the machine's path in it, so that reports are equal on every machine."""
    return getattr(error, "strerror", None) or type(error).__name__


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

    def __init__(self, config: CleanConfig | None = None, min_frames: int = 2) -> None:
        self.config = config or CleanConfig()
        self.asked = Asked(self.config, max(2, min_frames))
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
        digests = [Digest.of(episode) for episode in sound]
        self.norms = Norms(digests, sound[0].state.shape[1]) if sound else None
        return self

    def __call__(self, episode: Recording) -> Verdict:
        """See the class."""
        found = self.judge(episode)
        if self.norms is not None and all(f.verdict != EXCLUDE for f in found):
            found += self.apply(self.norms.judge(Digest.of(episode), self.config))
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


_FIX = (
    "nothing needs to be done: without --clean.on_bad=error the episode is left out and the rest goes on; to be rid "
    "of it, `lerobot-edit-dataset --operation.type delete_episodes --operation.episode_indices '[{}]'`; or if it is "
    "sound, --clean.skip='[{}]'"
)


class DatasetCleaner:
    """Judges every episode of a `SourceDataset`.

    Args:
        cleaner: The rules about episodes.
        journal: Keeps what each episode's files and rows gave, so that a killed run does not read them again.
    """

    def __init__(self, cleaner: EpisodeCleaner, journal: KeptResults | None = None) -> None:
        self.cleaner, self.journal = cleaner, journal
        self._videos: dict[Path, VideoFile] = {}  # the open file of each camera, by its folder

    def __call__(
        self, source: SourceDataset, progress: Callable[[int], object] = lambda done: None
    ) -> list[Verdict]:
        """Verdicts in the order of the episodes; `progress` is called with the number of episodes done since its last call."""
        found: list[list[Finding]] = []
        digests: list[Digest | None] = []
        for position in range(len(source)):
            findings, digest = self._episode(source, position)
            found.append(self.cleaner.apply(findings))
            digests.append(digest)
            progress(1)
        for video in self._videos.values():
            video.close()
        self._videos = {}
        pairs = list(zip(found, digests, strict=True))
        sound = [digest for own, digest in pairs if digest and all(f.verdict != EXCLUDE for f in own)]
        if sound:
            norms = Norms(sound, len(sound[0].low))
            for own, digest in pairs:
                if digest is not None:
                    own += self.cleaner.apply(norms.judge(digest, self.cleaner.config))
        return [Verdict(index, tuple(own)) for index, own in zip(source.episode_indices, found, strict=True)]

    def _episode(self, source: SourceDataset, position: int) -> tuple[list[Finding], Digest | None]:
        """What an episode's files and rows give, from the journal where it has that."""
        key = str(position)
        kept = None if self.journal is None else self.journal.get(key)
        if kept is not None:
            told, about = json.loads(kept)
            return [Finding(**f) for f in told], None if about is None else Digest(**about)
        meta, digest = source.meta(position), None
        findings, recording = _rows(source, meta)
        if recording is not None:
            own = self.cleaner.judge(recording)
            findings += self._cameras(source, meta) + own
            if all(f.verdict != EXCLUDE for f in own):
                digest = Digest.of(recording)
        if self.journal is not None:
            self.journal.put(key, json.dumps([[asdict(f) for f in findings], digest and asdict(digest)]))
        return findings, digest

    def _open(self, path: Path) -> VideoFile:
        """The file, kept open while its camera's episodes lie in it."""
        camera = path.parent.parent
        video = self._videos.get(camera)
        if video is None or video.path != path:
            if video is not None:
                video.close()
            video = self._videos[camera] = VideoFile(path)
        return video

    def _cameras(self, source: SourceDataset, meta: dict[str, Any]) -> list[Finding]:
        """`camera_streams`, `video` and `video_frames` of one episode."""
        config, fps, length = self.cleaner.config, source.fps, meta["length"]
        gone, damaged, few, worst = [], [], "", 0.0
        for key in source.video_keys:
            if not source.has_video(meta, key):
                gone.append(f"{key} has no video in this episode")
                continue
            path = source.video_path(meta, key)
            name = path.relative_to(source.root).as_posix()
            video = self._open(path)
            if video.missing:
                gone.append(f"{name} is missing")
                continue
            start = meta[f"videos/{key}/from_timestamp"]
            end = start + length / fps
            count = video.count(start, end, fps)
            short = abs(count - length)
            problem = video.decode_problem(start, end, fps, config.decode == "all")
            if problem:
                damaged.append(f"{name}: {problem}")
            elif short / length > worst:
                worst = short / length
                if worst > config.rate_tolerance:
                    few = f"{name} has {count} frames for {length} rows"
        gone += [f"{key} is empty in this episode" for key in _empty_images(source, meta)]
        return [
            finding("camera_streams", EXCLUDE, "; ".join(gone), len(gone), 0),
            finding("video", EXCLUDE, "; ".join(damaged), len(damaged), 0),
            finding("video_frames", EXCLUDE, few, worst, config.rate_tolerance),
        ]


def _rows(source: SourceDataset, meta: dict[str, Any]) -> tuple[list[Finding], Recording | None]:
    """`rows` and `task`: the table can be read and holds what the metadata says."""
    try:
        part = source.rows(meta)
        arrays = {key: values_of(part, key, source.data_path(meta)) for key in (STATE, ACTION)}
    except DataError as error:
        name = Path(error.file)
        where = name.relative_to(source.root).as_posix() if name.is_relative_to(source.root) else name.name
        return [finding("rows", EXCLUDE, f"{where}: {error.key}: {error.problem}", 1, 0)], None
    task_index = part.column("task_index")[0].as_py()
    known = isinstance(task_index, int) and 0 <= task_index < len(source.tasks)
    evidence = "" if known else f"task_index is {task_index}, but meta/tasks.parquet has {len(source.tasks)}"
    found = [finding("rows", EXCLUDE, "", 0, 0), finding("task", EXCLUDE, evidence, float(not known), 0)]
    if not known:
        return found, None
    of_episode = meta["episode_index"], source.tasks[task_index], source.fps, arrays[STATE], arrays[ACTION]
    clock = part.column("timestamp").to_numpy().astype(np.float64), part.column("frame_index").to_numpy()
    names = source.names(STATE), source.names(ACTION)
    what = source.embodiment
    return found, Recording(*of_episode, *names, embodiment=what, timestamp=clock[0], frame_index=clock[1])


def _empty_images(source: SourceDataset, meta: dict[str, Any]) -> list[str]:
    """Cameras stored as images in the rows that lack some."""
    part = source.rows(meta)
    empty = []
    for key in (key for key in source.camera_keys if key not in source.video_keys):
        if key in part.column_names:
            column = part.column(key).combine_chunks()
            stored = "bytes" in [f.name for f in column.type]
            bytes_of = pc.struct_field(column, "bytes") if stored else column
            if pc.min(pc.fill_null(pc.binary_length(bytes_of), 0)).as_py() != 0:
                continue
        empty.append(key)
    return empty


def clean_for_prepare(
    source: SourceDataset,
    folder: Path,
    config: CleanConfig,
    min_frames: int,
    journal: KeptResults | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> tuple[SourceDataset, dict[str, Any]]:
    """Judges a dataset, whose shortest event has `min_frames`, and writes `cleaning.parquet` to `folder`; see `DatasetCleaner`.

    Returns:
        The dataset without its excluded episodes, and the report for the summary.

    Raises:
        DataError: An episode is bad and `on_bad` is `error`, or none is left.
    """
    cleaner = EpisodeCleaner(config, min_frames)
    verdicts = DatasetCleaner(cleaner, journal)(source, progress)
    bad = [verdict for verdict in verdicts if verdict.verdict == EXCLUDE]
    if bad and (config.on_bad == "error" or len(bad) == len(verdicts)):
        raise _error(source, bad, len(verdicts))
    write_cleaning(verdicts, folder / "cleaning.parquet")
    excluded = {verdict.episode_index for verdict in bad}
    return source.subset([e for e in source.episode_indices if e not in excluded]), _report(verdicts)


def _error(source: SourceDataset, bad: Sequence[Verdict], total: int) -> DataError:
    first, found = bad[0], bad[0].of(EXCLUDE)[0]
    position, evidence = source.episode_indices.index(first.episode_index), found.evidence
    file = source.root if found.rule == "rows" else source.data_path(source.meta(position))
    named = re.split(":? ", evidence, maxsplit=1)[0]  # evidence about a file begins with its name
    if named.endswith((".parquet", ".mp4")):
        file = source.root / named
    if len(bad) == total:
        evidence = f"no episode is usable; the first of {total}: {evidence}"
        fix = f"mend that, or record the dataset again; if it is sound, --clean.skip='[{found.rule}]'"
    else:
        fix = _FIX.format(first.episode_index, found.rule)
    key = f"episode_index {first.episode_index}"
    return DataError(file, f"{key}: {found.rule}", evidence, fix)


def _report(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    found = [
        (f.verdict, {"episode_index": v.episode_index, "rule": f.rule, "evidence": f.evidence})
        for v in verdicts
        for f in v.findings
    ]
    bad, marked = ([row for verdict, row in found if verdict == wanted] for wanted in (EXCLUDE, FLAG))
    return {
        "episodes": dict(Counter(v.verdict for v in verdicts)),
        "excluded_by_rule": dict(Counter(row["rule"] for row in bad)),
        "flagged_by_rule": dict(Counter(row["rule"] for row in marked)),
        "excluded": bad,
        "flagged": marked,
    }


def print_cleaning(report: dict[str, Any], most: int = 20) -> None:
    """Prints who was left out and why, a line each; flags only as counts."""
    left_out = report["episodes"].get(EXCLUDE, 0)
    if left_out:
        print(f"left out    {left_out} episodes:")
    for row in report["excluded"][:most]:
        print(f"  episode {row['episode_index']}: {row['rule']}: {row['evidence']}")
    if len(report["excluded"]) > most:
        print(f"  ... {len(report['excluded']) - most} more in cleaning.parquet")
    if report["flagged_by_rule"]:
        counts = ", ".join(f"{rule} {count}" for rule, count in report["flagged_by_rule"].items())
        print(f"flagged     {counts} (kept; see cleaning.parquet)")
    if left_out > sum(report["episodes"].values()) / 2:
        print("warning: more than half of the episodes are left out; is meta/info.json right?")
