# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The recipe's figures and its table."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from recipe.figures import FIGURES, table, video_loss
from recipe.run import RECIPE

from lerobot_wallwm.policies.stages import STAGES


def test_every_stage_of_the_recipe_exists_and_has_figures():
    assert [stage.name for stage in RECIPE][:2] == ["video", "action"]
    for stage in RECIPE:
        assert stage.name in STAGES and stage.figures and set(stage.figures) <= set(FIGURES)


def test_the_video_figure_is_of_the_weights_and_not_of_the_stage(make_policy, make_train_batch):
    policies = [make_policy(stage=stage) for stage in ("joint", "video", "action")]  # of events, not chunks
    batch = make_train_batch(policies[0].config, valid=[8, 8, 3, 1])
    found = []
    for policy in policies:
        shape, state = policy.model.shape, torch.get_rng_state()
        observations = SimpleNamespace(batches=[batch, batch])
        found += [video_loss(SimpleNamespace(policy=policy), observations) for _ in range(2)]
        assert policy.model.shape is shape and torch.equal(torch.get_rng_state(), state)
    assert found == [pytest.approx(found[0])] * len(found) and found[0] > 0
    policies[0].model.video.proj_out.weight.data.mul_(2)
    assert video_loss(SimpleNamespace(policy=policies[0]), observations) != pytest.approx(found[0], rel=1e-3)


def test_the_video_figure_counts_what_is_in_the_event(make_policy, make_train_batch):
    policy = make_policy(stage="video")
    batch = make_train_batch(policy.config, batch=2, valid=[8, 1])
    # The second event ends at its keyframe: nothing of it is to be imagined.
    whole = video_loss(SimpleNamespace(policy=policy), SimpleNamespace(batches=[batch]))
    changed = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
    for key in policy.image_keys:
        changed[key][1, 1:] = 0.0
    again = video_loss(SimpleNamespace(policy=policy), SimpleNamespace(batches=[changed]))
    assert whole == pytest.approx(again)


def test_the_table_says_what_improved():
    low = dict.fromkeys(FIGURES, 2.0) | {f.baseline: 3.0 for f in FIGURES.values() if f.baseline}
    high = dict.fromkeys(low, 4.0)
    stages = [("video", ("video_loss", "psnr")), ("action", ("action_none", "psnr"))]
    lines = table(stages, {"start": low, "video": high, "action": low})
    verdicts = [line.split("  ")[-1] for line in lines[1:5]]
    assert verdicts == ["NOT improved", "improved", "improved", "NOT improved"]
    assert len(lines) == 5 + 2 + len(FIGURES) and lines[6].split()[-3:] == ["start", "video", "action"]


def test_higher_is_better_where_it_says_so():
    assert FIGURES["psnr"].improved(1.0, 2.0) and not FIGURES["psnr"].improved(2.0, 1.0)
    falling = replace(FIGURES["psnr"], higher_is_better=False)
    assert falling.improved(2.0, 1.0) and not falling.improved(1.0, 1.0)
