# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Segmenter, captioner and carver as transforms of an HF `datasets.Dataset`."""

import numpy as np
import pytest
from datasets import Dataset

from lerobot_wallwm.processors.balance.balancer import ClusterBalancer, balanced_weights
from lerobot_wallwm.processors.balance.clusterer import ClusterConfig, EventClusterer
from lerobot_wallwm.processors.caption.captioner import EventCaptioner
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter, SegmenterConfig
from lerobot_wallwm.processors.source.episodes import Episode
from lerobot_wallwm.processors.source.events import Event
from lerobot_wallwm.processors.view.carver import EventCarver


def test_map_in_two_processes_equals_plain_calls(source):
    segmenter, captioner = EventSegmenter(SegmenterConfig(min_event_s=0.3)), EventCaptioner()
    mapped = source.to_hf().map(segmenter, batched=True, batch_size=2, num_proc=2)
    mapped = mapped.map(captioner, batched=True, batch_size=2, num_proc=2)
    assert len(mapped) == len(source)
    rows = mapped.map(EventCarver("action"), batched=True, batch_size=2, remove_columns=mapped.column_names)
    at = 0
    for episode, row in zip(source, mapped, strict=True):
        plain = captioner(episode, segmenter(episode))
        assert len(plain) > 4
        given = [{**event, "confidence": float(event["confidence"])} for event in row["events"]]
        assert [Event(**event) for event in given] == plain
        for event in (e for e in plain if e.level == "action"):
            own = rows[at]
            assert (own["task"], own["start"], own["end"]) == (event.caption, event.start, event.end)
            assert own["action"] == episode.action[event.start : event.end].tolist()
            at += 1
    assert at == len(rows)


def test_an_episode_survives_the_row_form(source):
    episode = source.read(0)
    again = Episode.from_row(episode.to_row())
    assert again.task == episode.task and again.action_names == episode.action_names
    assert (again.action == episode.action).all() and (again.state == episode.state).all()


def test_clusterer_and_balancer_map_over_rows_of_events():
    rng = np.random.default_rng(0)
    kind = rng.choice(4, 400, p=[0.7, 0.2, 0.07, 0.03])
    centres = rng.normal(size=(4, 7)) * 5  # an action feature is a duration and 6 coefficients a joint
    columns = ("image_embedding", "text_embedding", "action_feature")
    parts = [(centres[kind] + rng.normal(size=(400, 7)) * 0.1).astype(np.float32) for _ in columns]
    rows = Dataset.from_dict({name: part.tolist() for name, part in zip(columns, parts, strict=True)})
    clusterer = EventClusterer(ClusterConfig(vl_clusters=4, action_clusters=4)).fit(*parts)
    rows = rows.map(clusterer, batched=True, num_proc=2)
    vl, action = clusterer.predict(*parts)
    assert rows["vl_cluster"] == vl.tolist() and rows["action_cluster"] == action.tolist()
    balancer = ClusterBalancer().fit(rows)
    weighted = rows.map(balancer, batched=True, num_proc=2)
    assert np.allclose(weighted["weight"], balanced_weights([vl, action]))
    rare = np.array(weighted["weight"])[kind == 3]
    assert rare.min() > 5 * np.array(weighted["weight"])[kind == 0].max()
    with pytest.raises(ValueError, match="were not fitted"):
        balancer({"vl_cluster": [9], "action_cluster": [9]})
