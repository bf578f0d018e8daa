# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The recipe's stages, figures and table."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lerobot.datasets import LeRobotDatasetMetadata
from recipe.chunk_figures import chunk_errors, measure_chunks
from recipe.figures import FIGURES, table, video_loss
from recipe.run import RECIPE, REPO, Recipe

from lerobot_wallwm import make_wallwm_pre_post_processors
from lerobot_wallwm.check.measure.checkpoint import Checkpoint
from lerobot_wallwm.check.measure.observations import load_observations, predict
from lerobot_wallwm.check.measure.views import Anchor, open_view, read_event_rows, source_episodes
from lerobot_wallwm.policies.training.stages import STAGES


def test_every_stage_of_the_recipe_exists_and_has_figures():
    assert [stage.name for stage in RECIPE] == [
        "video",
        "action",
        "next_chunk",
        "vlm",
        "staircase",
        "unified",
    ]
    for stage in RECIPE:
        assert stage.name in STAGES and stage.figures and set(stage.figures) <= set(FIGURES)


def test_the_video_figure_is_of_the_weights_and_not_of_the_stage(make_policy, make_train_batch):
    policies = [make_policy(stage=stage) for stage in ("joint", "video", "action")]  # of events, not chunks
    batch = make_train_batch(policies[0].config, valid=[8, 8, 3, 1])
    found = []
    for policy in policies:
        shape, state = policy.model.shape, torch.get_rng_state()
        observations = SimpleNamespace(parts=[[0], [1]], batch=lambda _: batch)
        found += [video_loss(SimpleNamespace(policy=policy), observations) for _ in range(2)]
        assert policy.model.shape is shape and torch.equal(torch.get_rng_state(), state)
    assert found == [pytest.approx(found[0])] * len(found) and found[0] > 0
    policies[0].model.video.proj_out.weight.data.mul_(2)
    assert video_loss(SimpleNamespace(policy=policies[0]), observations) != pytest.approx(found[0], rel=1e-3)


def test_the_video_figure_counts_what_is_in_the_event(make_policy, make_train_batch):
    policy = make_policy(stage="video")
    batch = make_train_batch(policy.config, batch=2, valid=[8, 1])
    # The second event ends at its keyframe: nothing of it is to be imagined.
    whole = video_loss(SimpleNamespace(policy=policy), SimpleNamespace(parts=[[0]], batch=lambda _: batch))
    changed = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
    for key in policy.image_keys:
        changed[key][1, 1:] = 0.0
    again = video_loss(SimpleNamespace(policy=policy), SimpleNamespace(parts=[[0]], batch=lambda _: changed))
    assert whole == pytest.approx(again)


@pytest.fixture(scope="module")
def checkpoints(make_policy, tiny_stats, tmp_path_factory):
    """Of stage `action`, and of `next_chunk` with the same weights beside its own tables."""
    folders = {}
    for stage in ("action", "next_chunk"):
        folders[stage] = tmp_path_factory.mktemp(stage)
        policy = make_policy(stage=stage)
        policy.save_pretrained(folders[stage])
        for pipeline in make_wallwm_pre_post_processors(policy.config, tiny_stats):
            pipeline.save_pretrained(folders[stage])
    return folders


def test_an_action_checkpoint_has_a_chunk_figure_before_the_chunks(checkpoints, tiny_view, tiny_dataset):
    found = {
        stage: [measure_chunks(folder, tiny_view, tiny_dataset, 6) for _ in range(2)]
        for stage, folder in checkpoints.items()
    }
    for first, second in found.values():
        assert first == second and first["chunk_action"] > 0
        assert set(first) == {"chunk_action", FIGURES["chunk_action"].baseline}
    before, after = (found[stage][0] for stage in ("action", "next_chunk"))
    assert before["chunk_hold"] == after["chunk_hold"]  # the same windows
    assert before["chunk_action"] != after["chunk_action"]


def test_chunk_windows_are_of_the_recording(checkpoints, tiny_dataset):
    meta = LeRobotDatasetMetadata("local/tiny", root=tiny_dataset)
    checkpoint = Checkpoint(checkpoints["action"], "next_chunk", meta)
    config, episodes = checkpoint.config, read_event_rows(tiny_dataset)
    last = len(episodes[2].action) - 3
    anchors = [Anchor(2, offset, episodes[2].first_row + offset) for offset in (0, 9, last)]
    seen = load_observations(checkpoint, open_view(tiny_dataset, config), episodes, anchors)
    for i, anchor in enumerate(anchors):
        steps = min(config.horizon, len(episodes[2].action) - anchor.offset)
        assert seen.valid[i].sum() == steps
        recorded = episodes[2].action[anchor.offset : anchor.offset + steps]
        assert seen.true[i, :steps] == pytest.approx(recorded, abs=1e-4)
        assert seen.state[i] == pytest.approx(episodes[2].state[anchor.offset], abs=1e-4)
    assert seen.captions == [meta.tasks.index[0]] * 3
    chunk = checkpoint.policy.windows_from_batch(seen.batch([0, 1, 2])).chunk
    assert chunk.given.chunk.tolist() == [anchor.offset // config.chunk_length for anchor in anchors]
    assert not chunk.past_valid[0].any() and chunk.past_valid[1].all()
    # The past is an input: without it the same checkpoint plans something else.
    planned = predict(checkpoint, seen).actions
    items = [dict(seen.items[i]) for i in range(3)]
    items[1]["action"] = items[1]["action"].clone()
    items[1]["action"][: config.past_steps + 1] = 0.0
    forgot = predict(checkpoint, replace(seen, items=items)).actions
    assert np.allclose(planned[0], forgot[0]) and not np.allclose(planned[1], forgot[1])


def test_the_chunk_error_counts_the_steps_that_are_executed():
    seen = SimpleNamespace(
        true=np.ones((1, 4, 2)), valid=np.array([[True, True, False, True]]), state=np.zeros((1, 2))
    )
    predicted = seen.true + np.array([1.0, 3.0, 50.0, 100.0])[None, :, None]
    assert chunk_errors(predicted, seen, 3) == {"chunk_action": 2.0, "chunk_hold": 1.0}


def test_no_stage_trains_on_held_out_episodes(tiny_view, tiny_dataset):
    heldout = set(source_episodes(tiny_view / "heldout"))
    recipe = Recipe(SimpleNamespace(fresh=False), tiny_dataset, tiny_view.parent)
    for stage in RECIPE:
        words = dict(word.lstrip("-").split("=", 1) for word in recipe._data(stage))
        root = (REPO / words["dataset.root"]).resolve()
        if stage.carved:
            assert root == tiny_view / "train" and "dataset.episodes" not in words
        else:
            assert root == tiny_dataset
            episodes = set(json.loads(words["dataset.episodes"]))
            assert heldout and not episodes & heldout and episodes | heldout == set(range(6))


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_says_what_improved():
    low = dict.fromkeys(FIGURES, 2.0) | {f.baseline: 3.0 for f in FIGURES.values() if f.baseline}
    high = dict.fromkeys(low, 4.0)
    stages = [("video", ("video_loss", "psnr")), ("action", ("action_none", "psnr"))]
    lines = table(stages, {"start": low, "video": high, "action": low})
    rows = [cells(line) for line in lines[:6]]
    assert rows[0][-2:] == ["no skill", "verdict"] and {len(row) for row in rows} == {6}
    assert [row[-1] for row in rows[2:]] == ["NOT improved", "improved", "improved", "NOT improved"]
    assert rows[2][2:5] == ["2", "4", ""] and rows[4][2:5] == ["4", "2", "3"]
    assert lines[6] == "" and len(lines) == 7 + 2 + len(FIGURES)
    assert cells(lines[7])[1:] == ["start", "video", "action"]


def test_the_table_leaves_out_what_was_not_measured():
    measured = {"start": {"video_loss": 1.0}, "video": {"video_loss": 0.5}}
    lines = table([("video", ("video_loss",))], measured)
    assert cells(lines[2])[2:] == ["1", "0.5", "", "improved"]
    found = {row[0]: row[1:] for row in map(cells, lines[6:])}
    assert found[FIGURES["video_loss"].label] == ["1", "0.5"]
    assert found[FIGURES["chunk_action"].label] == ["", ""]


def test_higher_is_better_where_it_says_so():
    assert FIGURES["psnr"].improved(1.0, 2.0) and not FIGURES["psnr"].improved(2.0, 1.0)
    falling = replace(FIGURES["psnr"], higher_is_better=False)
    assert falling.improved(2.0, 1.0) and not falling.improved(1.0, 1.0)
