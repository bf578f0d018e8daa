# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The tiny dataset as the data wing sees it: its source, its events, and a copy to damage."""

import shutil
from pathlib import Path

import pytest
from tables import annotated

from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import Event


@pytest.fixture(scope="module")
def source(tiny_dataset) -> SourceDataset:
    return SourceDataset.open(tiny_dataset)


@pytest.fixture(scope="module")
def events(source) -> list[Event]:
    return annotated(source)


@pytest.fixture
def damaged(tiny_dataset, tmp_path) -> Path:
    """A private copy of the tiny dataset to damage."""
    return Path(shutil.copytree(tiny_dataset, tmp_path / "source" / "dataset"))
