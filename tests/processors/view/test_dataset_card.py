# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The card: huggingface_hub reads it, its figures are those of the view, and text from a dataset stays text."""

import re
import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard
from hypothesis import given, strategies as st

from lerobot_wallwm.language.config import VlmConfig
from lerobot_wallwm.language.markdown import plain, source_card_data
from lerobot_wallwm.processors.prepare.config import PrepareConfig
from lerobot_wallwm.processors.prepare.prepare import prepare
from lerobot_wallwm.processors.prepare.stages import command_of
from lerobot_wallwm.processors.view.card import command_line
from lerobot_wallwm.storage.places import DatasetConfig, OutputConfig


def test_the_hub_reads_it_and_its_figures_are_the_views(tiny_view):
    for split in ("train", "heldout"):
        root = tiny_view / split
        card = DatasetCard.load(root / "README.md")
        assert card.data.task_categories == ["robotics"] and "LeRobot" in card.data.tags
        assert card.data.configs == [{"config_name": "default", "data_files": "data/*/*.parquet"}]
        assert card.data.license is None and "not stated by the source" in card.text
        episodes = pq.read_table(next((root / "meta" / "episodes").glob("*/*.parquet"))).to_pylist()
        labels = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| [\d.]+ \| [\d.]+ \| [\d.]+ \|$", card.text, re.M)
        expected = Counter(row["wallwm/label"] for row in episodes)
        assert {label: int(count) for label, count, _ in labels} == expected
        assert f"| action | {len(episodes)} |" in card.text
        assert "wallwm prepare --dataset.root=dataset --heldout=0.2" in card.text
        assert str(tiny_view.parent) not in card.content


def test_licence_and_tags_come_along(tiny_dataset, tmp_path):
    source = Path(shutil.copytree(tiny_dataset, tmp_path / "source"))
    front = "license: cc-by-4.0\ntags: [LeRobot, so101, 'bad\\ntag']\nlanguage: en\ntask_categories: [other]"
    (source / "README.md").write_text(f"---\n{front}\n---\n\nmy cups\n")
    out = tmp_path / "out"
    prepare(PrepareConfig(DatasetConfig(root=source), OutputConfig(root=out), quiet=True, heldout=0))
    data = DatasetCard.load(out / "train" / "README.md").data
    assert data.license == "cc-by-4.0" and data.language == ["en"]
    assert data.tags == ["LeRobot", "wallwm", "events", "so101"]


@pytest.mark.parametrize(
    "text", ["", "no front matter", "---\n[1, 2\n---\n", "---\n- a\n---\nx", "---\nlicense: 7\n---\n"]
)
def test_a_broken_card_of_the_source_gives_nothing(tmp_path, text):
    (tmp_path / "README.md").write_text(text)
    assert source_card_data(tmp_path) == {}
    assert source_card_data(tmp_path / "nowhere") == {}


@given(st.text(max_size=300))
def test_text_of_a_dataset_cannot_leave_its_cell(text):
    shown = plain(text)
    assert len(shown.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(?:\\\\)*[|<>`\[\]]", shown)


def test_the_command_repeats_the_run_without_folders():
    source = DatasetConfig(root=Path("/home/me/my cups"))
    config = PrepareConfig(dataset=source, level="task", language="action")
    config.segmenter.min_event_s = 0.5
    line = command_line(config, PrepareConfig())
    options = "--level=task --segmenter.min_event_s=0.5 --language=action"
    assert line == f"wallwm prepare '--dataset.root=my cups' {options}"


def test_the_published_command_names_no_server_and_no_key():
    config = PrepareConfig(out=OutputConfig(root=Path("/home/me/out")), captioner="vlm", quiet=True)
    secrets = {"base_url": "http://10.1.2.3:9/v1", "api_key_env": "MY_KEY", "extra_body": {"token": "secret"}}
    config.vlm = VlmConfig(model="tiny", **secrets)
    assert command_of(config) == "wallwm prepare --captioner=vlm --vlm.model=tiny"
