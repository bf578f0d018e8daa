# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Shards: they hold every episode once, resume one by one, and end in the single process's bytes."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st
from tables import change_episodes, contents, rows_file

from lerobot_wallwm.cli import _parse, main
from lerobot_wallwm.processors.prepare.config import PrepareConfig, ScaleConfig
from lerobot_wallwm.processors.prepare.prepare import prepare
from lerobot_wallwm.processors.prepare.scale_out import (
    annotate_shard,
    episode_key,
    merged,
    prepare_in_shards,
    read_shard,
    run_fingerprint,
    shard_path,
    shard_positions,
)
from lerobot_wallwm.processors.prepare.stages import annotator
from lerobot_wallwm.processors.segment.segmenter import SegmenterConfig
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.storage.errors import DataError
from lerobot_wallwm.storage.places import DatasetConfig, OutputConfig


def config_of(dataset: Path, out: Path, **scale) -> PrepareConfig:
    places = DatasetConfig(root=dataset), OutputConfig(root=out)
    return PrepareConfig(*places, heldout=0.2, quiet=True, scale=ScaleConfig(**scale))


@given(episodes=st.integers(0, 300), tasks=st.integers(1, 50))
def test_shards_tile_the_episodes(episodes, tasks):
    shards = [shard_positions(episodes, tasks, task) for task in range(tasks)]
    assert [k for shard in shards for k in shard] == list(range(episodes))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    with pytest.raises(ValueError, match=f"no shard {tasks} of {tasks}"):
        shard_positions(episodes, tasks, tasks)


def annotate_all(config: PrepareConfig, folder: Path) -> list[bool]:
    return [annotate_shard(config, folder, config.scale.tasks, task) for task in range(config.scale.tasks)]


def test_shards_then_views_equal_the_single_process(tiny_dataset, tiny_view, tmp_path):
    folder = tmp_path / "shards"
    config = config_of(tiny_dataset, tmp_path / "out", tasks=4, step="merge", root=folder)
    assert annotate_all(config, folder) == [True] * 4
    prepare_in_shards(config)
    assert contents(tmp_path / "out") == contents(tiny_view)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "shards"]


def test_a_later_run_makes_only_what_is_missing_damaged_or_other(tiny_dataset, tmp_path):
    source = shutil.copytree(tiny_dataset, tmp_path / "source")
    folder = tmp_path / "shards"
    config = config_of(source, tmp_path / "out", tasks=3, root=folder)
    annotate_all(config, folder)
    paths = [shard_path(folder, 3, task) for task in range(3)]
    good = [path.read_bytes() for path in paths]
    paths[0].unlink()
    paths[1].write_bytes(good[1][: len(good[1]) // 2])
    with pytest.raises(DataError, match="shards 0, 1 of 3"):
        merged(config, folder)
    assert annotate_all(config, folder) == [True, True, False]
    assert [path.read_bytes() for path in paths] == good
    # Where it runs and which views are carved changes no shard; parameters and data do.
    config.heldout, config.level = 0.5, "segment"
    assert annotate_all(config, folder) == [False] * 3
    config.segmenter = SegmenterConfig(min_event_s=0.4)
    assert annotate_all(config, folder) == [True] * 3
    pq.write_table(pq.read_table(rows_file(source)), rows_file(source), compression="zstd")
    assert annotate_all(config, folder) == [True] * 3


def test_a_shard_of_another_number_of_shards_is_not_taken(tiny_dataset, tmp_path):
    config = config_of(tiny_dataset, tmp_path / "out", tasks=3)
    annotate_shard(config, tmp_path, 3, 0)
    # The same fingerprint under a name that promises other episodes.
    for task in range(2):
        shutil.copy(shard_path(tmp_path, 3, 0), shard_path(tmp_path, 2, task))
    config.scale.tasks = 2
    with pytest.raises(DataError, match="shards 0, 1 of 2"):
        merged(config, tmp_path)


def test_a_shard_holds_its_confidences_exactly(tiny_dataset, tmp_path):
    config = config_of(tiny_dataset, tmp_path / "out", tasks=1)
    annotate_shard(config, tmp_path, 1, 0)
    source = SourceDataset.open(tiny_dataset)
    found = read_shard(shard_path(tmp_path, 1, 0), f"{run_fingerprint(source, config)} 0 of 1")
    assert found == {
        episode_key(episode): annotator(config, source.instructions)(episode) for episode in source
    }
    assert any(float(np.float32(e.confidence)) != e.confidence for group in found.values() for e in group)


def test_bad_episodes_and_changed_ones_end_as_in_one_process(tiny_dataset, tmp_path):
    """Cleaning leaves an episode out of the views that no shard could read; trimming one changes its key."""

    def spoil(values, episode):
        values[7, 3] = np.nan if episode == 2 else values[7, 3]
        return values

    source = Path(shutil.copytree(tiny_dataset, tmp_path / "source"))
    change_episodes(source, "observation.state", spoil)
    folder = tmp_path / "shards"
    config = config_of(source, tmp_path / "merged", tasks=3, step="merge", root=folder)
    annotate_all(config, folder)
    found = merged(config, folder)
    assert len(found) == 5
    prepare_in_shards(config)
    prepare(config_of(source, tmp_path / "alone"))
    assert contents(tmp_path / "merged") == contents(tmp_path / "alone")
    # Events of an episode that is no longer the same are not taken.
    episode = SourceDataset.open(source).read(0)
    assert episode_key(episode) in found
    assert episode_key(replace(episode, state=episode.state[1:], action=episode.action[1:])) not in found
    assert episode_key(replace(episode, task="another")) not in found


@pytest.mark.parametrize("flag", ["step=some", "tasks=-1", "workers=0", "first=4", "count=9"])
def test_scale_flags_out_of_range(capsys, tiny_dataset, tmp_path, flag):
    flags = [f"--dataset.root={tiny_dataset}", f"--out.root={tmp_path / 'out'}", "--scale.tasks=4"]
    flags = [f for f in flags if not f.startswith(f"--scale.{flag.split('=')[0]}")]
    assert main(["prepare", *flags, f"--scale.{flag}"]) == 2
    assert f"--scale.{flag.split('=')[0]}" in capsys.readouterr().err


SBATCH = """#!/bin/bash
for argument in "$@"; do
  case $argument in
    --array=*) last=${argument#--array=0-} ;;
    --dependency=*) echo "$argument" >> "$RECORD" ;;
    --wrap=*) wrap=${argument#--wrap=} ;;
  esac
done
for task in $(seq 0 ${last:-0}); do SLURM_ARRAY_TASK_ID=$task bash -c "$wrap"; done
echo "42;cluster"
"""
WALLWM = """#!/bin/bash
printf '%s\\t' "$@" >> "$RECORD"; echo >> "$RECORD"
"""


def test_the_slurm_script_submits_every_shard_once_and_then_the_merge(tmp_path):
    """Against stand-ins for sbatch, which runs the jobs at once, and for wallwm, which notes its flags."""
    for name, text in (("sbatch", SBATCH), ("wallwm", WALLWM)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    script = Path(__file__).parents[3] / "examples" / "scale_out" / "slurm.sh"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "NODES": "3", "TASKS_PER_NODE": "2"}
    places = {"RECORD": "record", "DATASET": "my cups", "OUT": "out"}
    environment |= {name: str(tmp_path / place) for name, place in places.items()}
    command = ["bash", str(script), "--level=task"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    *annotate, dependency, merge = (tmp_path / "record").read_text().splitlines()
    assert dependency == "--dependency=afterok:42"
    ranges = []
    for line in (*annotate, merge):
        command, *flags = line.rstrip("\t").split("\t")
        config = _parse("prepare", PrepareConfig, flags)
        assert command == "prepare" and config.level == "task" and config.scale.tasks == 6
        assert config.dataset.root == tmp_path / "my cups"
        ranges.append((config.scale.step, config.scale.first, config.scale.count))
    assert ranges == [("annotate", 0, 2), ("annotate", 2, 2), ("annotate", 4, 2), ("merge", 0, -1)]


@pytest.mark.slow
def test_under_datatrove_in_two_processes(tiny_dataset, tiny_view, tmp_path):
    pytest.importorskip("datatrove")
    flags = [f"--dataset.root={tiny_dataset}", "--heldout=0.2", "--quiet=true", "--scale.tasks=4"]
    flags += ["--scale.workers=2"]
    # Two machines, one after the other, then the merge; and all in one go.
    place = [f"--out.root={tmp_path / 'apart'}", f"--scale.root={tmp_path / 'shards'}"]
    for more in (["--scale.count=2"], ["--scale.first=2", "--scale.count=2"]):
        assert main(["prepare", *flags, *place, "--scale.step=annotate", *more]) == 0
    assert main(["prepare", *flags, *place, "--scale.step=merge"]) == 0
    assert main(["prepare", *flags, f"--out.root={tmp_path / 'whole'}"]) == 0
    assert contents(tmp_path / "apart") == contents(tmp_path / "whole") == contents(tiny_view)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["apart", "shards", "whole"]
    assert not list((tmp_path / "shards").rglob("*.pik*"))
