# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a policy learned: written and read again, and nothing else is read."""

import json
from dataclasses import asdict

import pytest

from lerobot_wallwm.embodiment.recognise import recognise
from lerobot_wallwm.hub.files.learned import Learned
from lerobot_wallwm.hub.files.safe_files import UnsafeCheckpointError

FULL = Learned(
    fps=30.0,
    action_feature_names=["pan", "grip"],
    state_feature_names=["pan", "grip"],
    embodiment=recognise(["pan", "grip"], ["pan", "grip"], (2, 2), None),
    camera_rows=["observation.images.wrist"],
    event_transitions={"": {"reach": 2}, "reach": {"grasp": 2}},
    event_max_frames={"reach": 31},
    motion_limits={"step": [0.5, 1.0], "state_low": [-1.0, 0.0]},
    backbone_shape={"width": 24},
    text_encoder_id="ab12",
    eye_taught=True,
)


@pytest.mark.parametrize("learned", [Learned(), FULL])
def test_what_is_written_is_read_again(learned, tmp_path):
    with pytest.raises(UnsafeCheckpointError, match=r"learned\.json: there is no such file"):
        Learned.read(tmp_path)
    learned.write(tmp_path)
    assert Learned.read(tmp_path) == learned


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fps", "fast"),
        ("fps", -1),
        ("camera_rows", ["a", "a"]),
        ("event_transitions", {"": {"reach": -3}}),
        ("event_max_frames", {"reach": 1.5}),
        ("motion_limits", {"step": [-1.0]}),
        ("motion_limits", {"state_low": [float("nan")]}),
        ("backbone_shape", [24]),
        ("text_encoder_id", "../../elsewhere"),
        ("state_feature_names", [1]),
        ("something_new", 1),
        ("embodiment", {"action": [{"name": "pan", "kind": "wish"}]}),
    ],
)
def test_anything_else_is_refused_with_file_and_key(key, value, tmp_path):
    (tmp_path / "learned.json").write_text(json.dumps({**asdict(FULL), key: value}))
    with pytest.raises(UnsafeCheckpointError, match=rf"learned\.json.*{key}"):
        Learned.read(tmp_path)


def test_a_checkpoint_from_before_the_description_is_read(tmp_path):
    content = asdict(FULL)
    del content["embodiment"]
    (tmp_path / "learned.json").write_text(json.dumps(content))
    assert Learned.read(tmp_path).embodiment is None
