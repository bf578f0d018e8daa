# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Plain reading of a LeRobotDataset v3: state, action, timestamps and task of each episode, straight from parquet.

No LeRobot import and no video decoding, so that a dataset of thousands of episodes is read in seconds. What would make a
carved view unusable is refused here, before anything is written.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lerobot_wallwm.embodiment.dataset import describe, flat_names
from lerobot_wallwm.embodiment.description import Embodiment
from lerobot_wallwm.embodiment.recognise import Rows, recognise
from lerobot_wallwm.language.instruction import Instructions
from lerobot_wallwm.storage.atomic import replacing
from lerobot_wallwm.storage.errors import DataError
from lerobot_wallwm.storage.fingerprint import fingerprint, fingerprint_of_files

STATE = "observation.state"
ACTION = "action"
EFFORT = "observation.effort"
# As a feature (`observation.current`, also one by joint: `observation.current.gripper`), or as the end of a name in the
# state (`gripper.torque`, as LeRobot's OpenArm writes it).
_EFFORT_WORDS = ("effort", "current", "load", "torque", "force")
# Where an episode's video lies.
_WHERE = ("chunk_index", "file_index", "from_timestamp")
_RERECORD = "record or download the dataset again"
_DELETE = "remove it with `lerobot-edit-dataset --operation.type delete_episodes --operation.episode_indices '[{}]'`"


@dataclass(frozen=True)
class Episode:
    """One demonstration without its images.

    Attributes:
        index: `episode_index` in the dataset.
        task: The instruction, at least of the first frames.
        fps: Frames per second.
        state: (T, S) float64, in the dataset's own units.
        action: (T, A) float64.
        state_names: S names, or empty where the dataset gives none.
        action_names: A names, or empty.
        effort: (T, E) effort, current or force, in the dataset's own units; None where the robot reports none.
        effort_names: E names, or empty.
        embodiment: What the dimensions are, as the whole dataset tells it; see `what`.
        later_tasks: Where the instruction changes within the episode, each first frame and what holds from there.
    """

    index: int
    task: str
    fps: float
    state: np.ndarray
    action: np.ndarray
    state_names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()
    effort: np.ndarray | None = None
    effort_names: tuple[str, ...] = ()
    embodiment: Embodiment | None = None
    later_tasks: tuple[tuple[int, str], ...] = ()

    @property
    def task_spans(self) -> list[tuple[str, int, int]]:
        """Each task with its frames `[start, end)`; one for an episode whose instruction does not change."""
        starts = [(0, self.task), *self.later_tasks]
        ends = [*(frame for frame, _ in self.later_tasks), len(self)]
        return [(task, start, end) for (start, task), end in zip(starts, ends, strict=True)]

    def __len__(self) -> int:
        return len(self.action)

    @property
    def what(self) -> Embodiment:
        """What the dimensions are: the dataset's description, or without one what this episode alone tells."""
        if self.embodiment is not None:
            return self.embodiment
        length = min(len(self.action), len(self.state))
        one = np.zeros(length, int)
        rows = Rows(self.action[:length], self.state[:length], one, self.fps)
        widths = self.action.shape[1], self.state.shape[1]
        return recognise(self.action_names, self.state_names, widths, rows)

    def to_row(self) -> dict[str, Any]:
        """The episode as one row of an episodes-as-rows `datasets.Dataset`."""
        row = {"episode_index": self.index, "task": self.task, "fps": float(self.fps)}
        row |= {STATE: self.state.tolist(), ACTION: self.action.tolist()}
        row |= {"state_names": list(self.state_names), "action_names": list(self.action_names)}
        row["later_tasks"] = json.dumps(self.later_tasks)
        if self.embodiment is not None:
            row["embodiment"] = json.dumps(self.embodiment.to_json())
        if self.effort is not None:
            row |= {EFFORT: self.effort.tolist(), "effort_names": list(self.effort_names)}
        return row

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Episode:
        """The inverse of `to_row`."""
        state, action, effort = (
            None if row.get(key) is None else np.asarray(row[key], dtype=np.float64)
            for key in (STATE, ACTION, EFFORT)
        )
        of_state, of_action, of_effort = (
            tuple(row.get(f"{part}_names") or ()) for part in ("state", "action", "effort")
        )
        index, task, fps = int(row["episode_index"]), str(row["task"]), float(row["fps"])
        what = row.get("embodiment")
        known = None if what is None else Embodiment.from_json(json.loads(what))
        later = tuple((frame, text) for frame, text in json.loads(row.get("later_tasks") or "[]"))
        about = of_state, of_action, effort, of_effort, known, later
        return cls(index, task, fps, state, action, *about)  # type: ignore[arg-type]


def read_parquet(
    path: str | Path, needed: Iterable[str] = (), fix: str = _RERECORD, columns: list[str] | None = None
) -> pa.Table:
    """Reads a table with at least the columns `needed`, or only `columns`; `fix` is what the user can do where that fails.

    Raises:
        DataError: The file is missing, cannot be read, or lacks a column.
    """
    try:
        table = pq.ParquetFile(path).read(columns)
    except FileNotFoundError as error:
        raise DataError(path, "file", "is missing", fix) from error
    except (OSError, pa.ArrowException) as error:
        raise DataError(path, "file", f"cannot be read: truncated or not parquet ({error})", fix) from error
    for name in needed:
        if name not in table.column_names:
            raise DataError(path, name, "column is missing", fix)
    return table


def schema_of(row: type, version: Mapping[str, str], **special: pa.Field) -> pa.Schema:
    """The Arrow schema of a dataclass's fields: int64, float64, string and bool without gaps, or the `special` ones given."""
    kinds = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
    fields = [
        special.get(name) or pa.field(name, kinds[hint], nullable=False)
        for name, hint in get_type_hints(row).items()
    ]
    return pa.schema(fields, metadata=version)


def write_rows(rows: Iterable[Any], schema: pa.Schema, path: str | Path) -> None:
    """Writes dataclasses as a table of that schema (`schema_of`), a row each; the file appears whole or not at all."""
    with replacing(path) as partial:
        table = pa.Table.from_pylist([asdict(row) for row in rows], schema)
        pq.write_table(table, partial, compression="zstd")


SUBTASKS = "meta/subtasks.parquet"  # texts of the column `subtask_index`
# Features that `info.json` must list, and what to do where it does not.
_NEEDED = {
    ACTION: "record with a teleoperator (lerobot-record --teleop.type=...), or rename your action column to `action`",
    STATE: "record it with lerobot-record",
    "observation.images.*": "record with at least one camera (--robot.cameras=...)",
}
_NAMED = {ACTION: "actions", STATE: "robot state", "observation.images.*": "cameras"}


@dataclass
class SourceDataset:
    """A LeRobotDataset v3 on disk. Build it with `SourceDataset.open`; `read(i)` gives an `Episode`.

    Attributes:
        camera_keys: Cameras that show colours.
        video_keys: Cameras of any kind whose pictures lie in videos.
        depth_keys: Cameras that show distances. Their files go into views; nothing here looks at them.
        identity: Of the whole dataset, which a subset keeps: 16 hexadecimal digits of its `dataset_fingerprint`, and 8 of its
            rows' bytes, for two recordings may have the same lengths and tasks.
    """

    root: Path
    info: dict[str, Any]
    episodes: pa.Table
    tasks: list[str]
    camera_keys: list[str]
    video_keys: list[str]
    embodiment: Embodiment | None = None
    # How the tasks are read.
    instructions: Instructions = field(default_factory=Instructions)
    # What was mended in the metadata, for the summary.
    notes: tuple[str, ...] = ()
    depth_keys: list[str] = field(default_factory=list)
    identity: str = ""
    _tables: dict[Path, pa.Table] = field(default_factory=dict, repr=False)
    _strays: dict[int, Path] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, root: str | Path, embodiment: Mapping[str, str] | None = None) -> SourceDataset:
        """Reads the metadata; `embodiment` corrects what the dimensions are (`embodiment.dataset.changed`).

        Raises:
            DataError: If there is no dataset, if it is v2.1, or if it lacks actions, a state or cameras.
        """
        root = Path(root)
        info_path = root / "meta" / "info.json"
        if not info_path.is_file():
            inside = [part for part in ("train", "heldout") if (root / part / "meta" / "info.json").is_file()]
            fix = (
                f"give {root / inside[0]}"
                if inside
                else "give the folder that holds meta/, data/ and videos/"
            )
            raise DataError(info_path, "file", "is missing", fix)
        try:
            info = json.loads(info_path.read_text())
        except json.JSONDecodeError as error:
            raise DataError(info_path, "file", f"is not JSON ({error})", _RERECORD) from error
        version = str(info.get("codebase_version", "unknown"))
        if not version.startswith("v3"):
            fix = "convert it: python -m lerobot.scripts.convert_dataset_v21_to_v30 --repo-id=<repo_id> --root=<folder>"
            raise DataError(info_path, "codebase_version", f"is {version}, but v3.0 is needed", fix)
        features = info.get("features", {})
        every = [key for key, value in features.items() if value.get("dtype") in ("video", "image")]
        depth = [key for key in every if is_depth(features[key])]
        cameras = [key for key in every if key not in depth]
        for key, fix in _NEEDED.items():
            if key not in features and not (key.endswith("*") and cameras):
                problem = f"is missing: the dataset has no {_NAMED[key]}"
                raise DataError(info_path, f"features.{key}", problem, fix)
        if not float(info.get("fps") or 0) > 0:
            raise DataError(info_path, "fps", f"is {info.get('fps')}", "set it to the recording's frame rate")
        videos = [key for key in every if features[key]["dtype"] == "video"]

        files = sorted((root / "meta" / "episodes").glob("*/*.parquet"))
        if not files:
            raise DataError(root / "meta" / "episodes", "*.parquet", "is missing", _RERECORD)
        needed = ["episode_index", "length", "dataset_from_index", "dataset_to_index"]
        needed += ["data/chunk_index", "data/file_index"]
        tables, broken = _whole_tables(root, files, needed)
        parts = [t.select([name for name in t.column_names if not name.startswith("stats/")]) for t in tables]
        episodes = pa.concat_tables(parts, promote_options="default").sort_by("episode_index")
        # A camera that only some episodes have is theirs to lack; one that none has is a fault of the dataset.
        for name in (f"videos/{key}/{part}" for key in videos for part in _WHERE):
            if name not in episodes.column_names:
                raise DataError(files[0], name, "column is missing", _RERECORD)
        what = describe(root, features, float(info["fps"]), embodiment)
        tasks, notes = _read_tasks(root, episodes, info)
        read = Instructions(used_tasks(episodes, tasks))
        if broken and (
            lost := sorted(set(range(info.get("total_episodes") or 0)) - set(indices_of(episodes)))
        ):
            broken.append(f"episodes left out because meta/episodes does not describe them: {lost}")
        notes = (*broken, *notes)
        whole = cls(root, info, episodes, tasks, cameras, videos, what, read, notes, depth)
        rows = fingerprint_of_files((root / "data").glob("*/*.parquet"))
        whole.identity = f"{dataset_fingerprint(whole).removeprefix('sha256:')[:16]}-{rows[:8]}"
        return whole

    def __len__(self) -> int:
        return self.episodes.num_rows

    @property
    def fps(self) -> float:
        return float(self.info["fps"])

    @property
    def episode_indices(self) -> list[int]:
        return indices_of(self.episodes)

    @property
    def all_cameras(self) -> list[str]:
        """Cameras of any kind."""
        return [*self.camera_keys, *self.depth_keys]

    def meta(self, position: int) -> dict[str, Any]:
        """The metadata row of the `position`-th episode."""
        return {name: self.episodes.column(name)[position].as_py() for name in self.episodes.column_names}

    def names(self, key: str) -> tuple[str, ...]:
        """Dimension names of a feature; empty where `info.json` gives none."""
        return flat_names(self.info["features"][key].get("names"))

    def data_path(self, meta: dict[str, Any]) -> Path:
        return self.root / self.info["data_path"].format(
            chunk_index=meta["data/chunk_index"], file_index=meta["data/file_index"]
        )

    def has_video(self, meta: dict[str, Any], key: str) -> bool:
        """Whether the metadata says where this camera's video of the episode lies."""
        where = (meta[f"videos/{key}/{name}"] for name in _WHERE)
        return all(value is not None and np.isfinite(value) for value in where)

    def video_path(self, meta: dict[str, Any], key: str) -> Path:
        return self.root / self.info["video_path"].format(
            video_key=key,
            # Whole numbers, even where a tool that knows no integers with gaps has written floats.
            chunk_index=int(meta[f"videos/{key}/chunk_index"]),
            file_index=int(meta[f"videos/{key}/file_index"]),
        )

    def cameras(self, meta: dict[str, Any]) -> list[str]:
        """The cameras that an episode has; a dataset may lack some in some episodes."""
        return [key for key in self.camera_keys if key not in self.video_keys or self.has_video(meta, key)]

    def subset(self, episodes: Iterable[int]) -> SourceDataset:
        """The same dataset with only these episodes, by `episode_index`."""
        kept = pa.array(list(episodes), pa.int64())
        wanted = pc.is_in(self.episodes.column("episode_index"), value_set=kept)
        return replace(self, episodes=self.episodes.filter(wanted), _tables={})

    def rows(self, meta: dict[str, Any]) -> pa.Table:
        """All columns of one episode, rows in frame order.

        Raises:
            DataError: If the file is truncated or holds another number of rows than `length`.
        """
        path, episode = self.data_path(meta), meta["episode_index"]
        table, where = self._find(path, episode)
        if not len(where) and (stray := self._elsewhere(episode)) is not None:
            table, where = self._find(stray, episode)
        if len(where) != meta["length"] or not len(where):
            problem = f"holds {len(where)} rows, but meta/episodes says {meta['length']}"
            raise DataError(path, f"episode_index {episode}", problem, _RERECORD)
        contiguous = where[-1] - where[0] + 1 == len(where)
        part = table.slice(where[0], len(where)) if contiguous else table.take(pa.array(where))
        frames = part.column("frame_index").to_numpy()
        return part if (np.diff(frames) > 0).all() else part.sort_by("frame_index")

    def _find(self, path: Path, episode: int) -> tuple[pa.Table, np.ndarray]:
        """A data file, and which of its rows are an episode's."""
        if path not in self._tables:
            needed = (ACTION, STATE, "timestamp", "frame_index", "episode_index", "task_index")
            self._tables = {path: read_parquet(path, needed)}  # one file: a dataset need not fit in memory
        table = self._tables[path]
        return table, np.flatnonzero(np.asarray(pc.equal(table.column("episode_index"), episode)))

    def _elsewhere(self, episode: int) -> Path | None:
        """The file that holds an episode whose metadata names another, as LeRobot finds it: by the rows of all files.

        LeRobot's writer names the file before for the first episode of a later file.
        """
        if not self._strays:
            for path in sorted((self.root / "data").glob("*/*.parquet")):
                with contextlib.suppress(DataError):  # of another episode, and said there
                    held = read_parquet(path, ["episode_index"], columns=["episode_index"])
                    self._strays.update(dict.fromkeys(pc.unique(held.column(0)).to_pylist(), path))
        return self._strays.get(episode)

    def clock(self, rows: pa.Table) -> np.ndarray:
        """Time of each of an episode's T rows, ``(T,)`` seconds.

        LeRobot's clock is frame / fps stored as float32. On that grid the exact quotient keeps the rounding of a late
        event from adding to that of its offset; a recording with its own clock keeps its own clock.
        """
        clock = rows.column("timestamp").to_numpy().astype(np.float64)
        grid = np.arange(len(clock)) / self.fps
        return grid if np.abs(clock - grid).max() < 1e-4 else clock

    def read(self, position: int, min_frames: int = 2) -> Episode:
        """The `position`-th episode, of at least `min_frames` (the shortest event: a shorter episode cannot hold one).

        Raises:
            DataError: On NaN, a constant state, a short episode, an unknown task, or a truncated file.
        """
        meta = self.meta(position)
        episode, path = meta["episode_index"], self.data_path(meta)
        remove = _DELETE.format(episode)
        if meta["length"] < min_frames:
            problem = f"has {meta['length']} frames, too short to hold an event of {min_frames}"
            fix = f"{remove}, or lower --segmenter.min_event_s"
            raise DataError(path, f"episode_index {episode}", problem, fix)
        part = self.rows(meta)
        state, action = (values_of(part, key, path) for key in (STATE, ACTION))
        for key, values in ((STATE, state), (ACTION, action)):
            dim, problem, count = not_finite(values, episode)
            if count:
                raise DataError(path, f"{key}[{dim}]", problem, remove)
        if np.ptp(state, axis=0).max() == 0:
            problem = f"is constant over all {len(part)} frames of episode {episode}: the arm was not read, or never moved"
            raise DataError(path, STATE, problem, remove)
        indices = part.column("task_index").to_numpy()
        if outside := [task for task in indices.tolist() if not 0 <= task < len(self.tasks)]:
            problem = f"is {outside[0]} at episode {episode}, but meta/tasks.parquet has {len(self.tasks)}"
            raise DataError(path, "task_index", problem, _RERECORD)
        starts = [0, *(np.flatnonzero(np.diff(indices)) + 1).tolist()]
        task, *later = [(frame, self.tasks[indices[frame]]) for frame in starts]
        columns = {
            key: (values_of(part, key, self.root), self.names(key))
            for key in effort_keys(self.info["features"])
            if key in part.column_names and not part.column(key).null_count
        }
        names = self.names(STATE), self.names(ACTION)
        effort = join_effort(columns, state, names[0])
        about = *names, *effort, self.embodiment, tuple(later)
        return Episode(episode, task[1], self.fps, state, action, *about)

    def provenance(self, episode_index: int) -> dict[str, int]:
        """What a carved view says beside each event of this episode: nothing, for rows that are the recording's own."""
        return {}

    def __iter__(self) -> Iterator[Episode]:
        return (self.read(position) for position in range(len(self)))

    def to_hf(self) -> Any:
        """An episodes-as-rows `datasets.Dataset`, for `.map(segmenter, batched=True)`."""
        import datasets

        return datasets.Dataset.from_list([episode.to_row() for episode in self])


def not_finite(values_TD: np.ndarray, episode: int) -> tuple[int, str, int]:
    """The dimension of the first NaN or infinity of an episode, what is wrong with it, and how many there are."""
    bad = np.argwhere(~np.isfinite(values_TD))
    if not len(bad):
        return 0, "", 0
    frame, dim = bad[0]
    where = f"at episode {episode}, frame {frame} ({len(bad)} such values in the episode)"
    return int(dim), f"is {values_TD[frame, dim]} {where}", len(bad)


def values_of(part: pa.Table, key: str, path: Path) -> np.ndarray:
    """A column of numbers or of lists of numbers as (T, D) float64.

    Raises:
        DataError: A record is missing, or has another width than the others.
    """
    column = part.column(key).combine_chunks()
    if column.null_count:
        raise DataError(path, key, f"is missing in {column.null_count} records", _RERECORD)
    flat = column.flatten() if pa.types.is_nested(column.type) else column
    if len(flat) % len(part) or (
        pa.types.is_list(column.type) and pc.count_distinct(pc.list_value_length(column)).as_py() > 1
    ):
        raise DataError(path, key, "has records of different widths", _RERECORD)
    return np.asarray(flat.to_numpy(zero_copy_only=False), dtype=np.float64).reshape(len(part), -1)


def indices_of(episodes: pa.Table) -> list[int]:
    """`episode_index` of each row of `meta/episodes`."""
    return episodes.column("episode_index").to_pylist()


def is_depth(feature: Mapping[str, Any]) -> bool:
    """Whether a camera shows distances: LeRobot marks it in the feature's `info`, and its pictures have one channel."""
    info = {**(feature.get("video_info") or {}), **(feature.get("info") or {})}
    marked = info.get("is_depth_map") or info.get("video.is_depth_map")
    return bool(marked or list(feature.get("shape") or ())[-1:] == [1])


def _whole_tables(root: Path, files: Sequence[Path], needed: list[str]) -> tuple[list[pa.Table], list[str]]:
    """The files of `meta/episodes` that can be read, and a line for each that cannot: its writer was killed.

    Raises:
        DataError: None can, or one lacks a column.
    """
    tables, broken = [], []
    for path in files:
        try:
            tables.append(read_parquet(path, needed))
        except DataError as error:
            if error.key != "file":
                raise
            broken.append(error)
    if not tables:
        raise broken[0]
    return tables, [
        f"{Path(e.file).relative_to(root).as_posix()} is left out: it {e.problem}" for e in broken
    ]


def used_tasks(episodes: pa.Table, tasks: Sequence[str]) -> list[str]:
    """The tasks that episodes have, in the order of `tasks`; all where the metadata does not say."""
    if "tasks" not in episodes.column_names:
        return list(tasks)
    used = {task for own in episodes.column("tasks").to_pylist() for task in own or ()}
    return [task for task in tasks if task in used]


def named_rows(path: Path, name: str, fix: str = _RERECORD) -> dict[int, str]:
    """Texts of a table that LeRobot writes with pandas, such as tasks, by the index that each row gives itself, in row order.

    Raises:
        DataError: The file cannot be read, or lacks the column.
    """
    table = read_parquet(path, fix=fix)
    column = next((n for n in (name, "__index_level_0__") if n in table.column_names), None)
    if column is None:
        raise DataError(path, name, "column is missing", fix)
    texts = [str(text) for text in table.column(column).to_pylist()]
    index = f"{name}_index"
    indices = table.column(index).to_pylist() if index in table.column_names else list(range(len(texts)))
    if len(set(indices)) < len(indices):
        raise DataError(path, index, "holds a value twice", fix)
    return dict(zip(indices, texts, strict=True))


def _read_tasks(root: Path, episodes: pa.Table, info: Mapping[str, Any]) -> tuple[list[str], tuple[str, ...]]:
    """Tasks by `task_index`, and what was mended or contradicts itself.

    LeRobot takes a task's row for its index. Where the file's own column says otherwise, the one of the two that agrees with
    `meta/episodes` is right.

    Raises:
        DataError: The column is missing, or neither agrees.
    """
    path = root / "meta" / "tasks.parquet"
    by_column = named_rows(path, "task")
    texts = list(by_column.values())
    said = dict(zip(episodes.column("episode_index").to_pylist(), _tasks_of(episodes), strict=True))
    found = _task_indices(root, episodes, info)

    def astray(tasks: Mapping[int, str]) -> list[int]:
        return [e for e, own in found.items() if not {tasks.get(i) for i in own} <= set(said[e])]

    if list(by_column) == list(range(len(texts))):
        wrong = astray(by_column) if any(said.values()) else []
        note = f"meta/episodes names other tasks than the rows of {len(wrong)} episodes, the first {wrong[:1]}; the rows count"
        return texts, (note,) if wrong else ()
    candidates = {"its column task_index": by_column, "the order of its rows": dict(enumerate(texts))}
    agree = [(how, tasks) for how, tasks in candidates.items() if not astray(tasks)]
    if not agree:
        problem = "neither its column task_index nor the order of its rows agrees with meta/episodes"
        raise DataError(
            path,
            "task_index",
            problem,
            "restore it, or write it again with all tasks in the order of task_index",
        )
    how, tasks = agree[0]
    if sorted(tasks) != list(range(len(tasks))):
        raise DataError(path, "task_index", f"is {sorted(tasks)[:8]}, not 0, 1, 2, ...", _RERECORD)
    note = f"{path}: its rows are not in the order of task_index; tasks are read by {how}, as meta/episodes has them"
    return [tasks[i] for i in range(len(tasks))], (note,)


def _tasks_of(episodes: pa.Table) -> list[list[str]]:
    known = "tasks" in episodes.column_names
    return [own or [] for own in episodes.column("tasks").to_pylist()] if known else [[]] * episodes.num_rows


def _task_indices(root: Path, episodes: pa.Table, info: Mapping[str, Any]) -> dict[int, set[int]]:
    """The values of `task_index` in each episode's rows."""
    found: dict[int, set[int]] = {}
    places = zip(
        *(episodes.column(f"data/{part}_index").to_pylist() for part in ("chunk", "file")), strict=True
    )
    for chunk, file in sorted(set(places)):
        path = root / info["data_path"].format(chunk_index=chunk, file_index=file)
        try:
            table = pq.read_table(path, columns=["episode_index", "task_index"])
        except (OSError, pa.ArrowException):
            continue  # what reads the rows says what is wrong with the file
        pairs = table.group_by(["episode_index", "task_index"]).aggregate([])
        for episode, task in zip(*(column.to_pylist() for column in pairs.columns), strict=True):
            found.setdefault(episode, set()).add(task)
    return {
        episode: found[episode]
        for episode in episodes.column("episode_index").to_pylist()
        if episode in found
    }


def effort_keys(features: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Features of a dataset that hold effort of any kind, in their order."""
    return [
        key
        for key, feature in features.items()
        if key.startswith("observation.")
        and key.removeprefix("observation.").split(".")[0] in _EFFORT_WORDS
        and str(feature.get("dtype", "")).startswith(("float", "int", "uint"))
    ]


def join_effort(
    columns: Mapping[str, tuple[np.ndarray, tuple[str, ...]]], state: np.ndarray, state_names: tuple[str, ...]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """All effort of an episode beside each other, and its names. It is evidence, not a need: what has holes is left out.

    `columns` maps a feature to its (T, E) values and names; dimensions of the state (T, S) with such a name count too.

    Returns:
        (T, E) values and E names; None and nothing where there is no effort.
    """
    found, names = [], []
    for key, (values, own) in columns.items():
        if not np.isfinite(values).all():
            continue
        found.append(values)
        if values.shape[1] == 1:
            names.append(key)  # `observation.current.gripper` says more than a name of its one value
        elif len(own) == values.shape[1]:
            names += own
        else:
            names += [f"{key}.{d}" for d in range(values.shape[1])]
    in_state = [d for d, name in enumerate(state_names) if name.split(".")[-1] in _EFFORT_WORDS]
    if in_state:
        found.append(state[:, in_state])
        names += [state_names[d] for d in in_state]
    return (np.hstack(found), tuple(names)) if found else (None, ())


def dataset_fingerprint(source: SourceDataset) -> str:
    """Names a dataset by what it holds: `sha256:` and 64 hex digits over the rate, the features and each episode's index, length and tasks.

    The same on every machine and under every folder name. It reads metadata only, so a dataset whose values were
    edited in place keeps its fingerprint. Our choice: what frame numbers and captions refer to.
    """
    features = {
        key: [value.get("dtype"), list(value.get("shape") or ()), source.names(key)]
        for key, value in source.info["features"].items()
    }
    table = source.episodes
    known = "tasks" in table.column_names
    tasks = table.column("tasks").to_pylist() if known else [source.tasks] * len(source)
    lengths = table.column("length").to_pylist()
    episodes = [list(row) for row in zip(source.episode_indices, lengths, tasks, strict=True)]
    return "sha256:" + fingerprint({"fps": source.fps, "features": features, "episodes": episodes})


def split_episodes(episodes: Sequence[int], heldout: float, seed: int) -> tuple[list[int], list[int]]:
    """Splits source episodes into train and held-out.

    All events of a source episode land on the same side, so no frame of a held-out episode is ever trained on.

    Args:
        episodes: Source episode indices.
        heldout: Fraction in [0, 1); at least one episode is held out if it is above 0, and at least one is left.
        seed: Same seed, same split.
    """
    if not 0 <= heldout < 1:
        raise ValueError(f"heldout must be in [0, 1), got {heldout}")
    ordered = sorted(set(episodes))
    count = min(max(1, round(heldout * len(ordered))), len(ordered) - 1) if heldout > 0 else 0
    chosen = set(np.random.default_rng(seed).permutation(ordered)[:count].tolist())
    return [e for e in ordered if e not in chosen], [e for e in ordered if e in chosen]
