# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A look never waits for the device: it can be compiled as one graph, or captured."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from cuda_mirror import NoHostSync, cuda_mirror, fake_cuda
from tiny_arm import JOINT_NAMES
from tiny_models import random_event, tiny_model
from torch.utils._python_dispatch import TorchDispatchMode

from lerobot_wallwm.embodiment.recognise import recognise
from lerobot_wallwm.policies.batches.action_space import ActionSpace
from lerobot_wallwm.policies.model import sampling
from lerobot_wallwm.policies.model.sampling import Sight
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

IMAGINATIONS = ("none", "anchor", "full")


def sight_of(model, lengths: tuple[int, ...] = (8, 3)) -> Sight:
    event, shape = random_event(model.shape, lengths), model.shape
    grid = [side // model.codec.spatial_stride for side in shape.image_size]
    noise = torch.randn(len(lengths), shape.horizon, shape.action_dim)
    video = torch.randn(len(lengths), 2, model.codec.channels, shape.num_future_latents, *grid)
    text, length = model.text_encoder(event.captions), torch.tensor(lengths)
    return Sight(event.keyframes, event.state, text, event.here, noise, video, length, torch.arange(2))


@pytest.fixture
def dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("imagination", IMAGINATIONS)
@torch.no_grad()
def test_nothing_waits_on_a_gpu(imagination):
    model = tiny_model()
    sight = sight_of(model)
    expected = sampling.look(model, sight, imagination, 3)
    with cuda_mirror():
        with NoHostSync():
            found = sampling.look(model, sight, imagination, 3)
        with NoHostSync(), pytest.raises(RuntimeError, match="waits"):
            bool(found.actions.any())
    # The CPU leaves out what lies beyond the event; a GPU computes it behind masks.
    for row, length in enumerate(expected.length.tolist()):
        torch.testing.assert_close(
            found.actions[row, :length], expected.actions[row, :length], atol=1e-5, rtol=1e-5
        )
    for name in ("length", "remaining", "goal", *(("latents",) if imagination != "none" else ())):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("landmarks", [3, 0])
@pytest.mark.parametrize("imagination", IMAGINATIONS)
def test_a_look_on_cuda_meets_one_device_and_its_types(imagination, landmarks):
    model = tiny_model(landmarks=landmarks)
    sight = sight_of(model)
    with fake_cuda(model):
        on_cuda = {
            f.name: torch.empty(x.shape, dtype=x.dtype, device="cuda")
            for f in fields(sight)
            if (x := getattr(sight, f.name)) is not None
        }
        plan = sampling.look(model, Sight(**on_cuda), imagination, 3)
        assert plan.actions.device.type == "cuda" and plan.actions.dtype == torch.float32


def test_units_are_changed_without_waiting():
    space = ActionSpace(recognise(JOINT_NAMES, JOINT_NAMES, (6, 6), None), [True] * 5 + [False])
    state, actions = torch.randn(2, 6), torch.randn(2, 4, 6)
    with cuda_mirror(), NoHostSync():
        units = space.encode_actions(actions, state)
        found = space.decode_actions(units, state)
        space.here(state), space.encode_state(state)
    torch.testing.assert_close(found, actions)


@torch.no_grad()
@pytest.mark.parametrize(
    "imagination", ["none", *(pytest.param(i, marks=pytest.mark.slow) for i in IMAGINATIONS[1:])]
)
def test_a_look_compiles_to_one_graph(imagination, dynamo):
    model = tiny_model()
    sight = sight_of(model)
    expected = sampling.look(model, sight, imagination, 2)
    found = torch.compile(sampling.look, fullgraph=True, backend="aot_eager")(model, sight, imagination, 2)
    for row, length in enumerate(expected.length.tolist()):
        torch.testing.assert_close(
            found.actions[row, :length], expected.actions[row, :length], atol=1e-5, rtol=1e-5
        )


class Operators(TorchDispatchMode):
    """How many PyTorch runs, and how many of them cast."""

    all = casts = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.all, self.casts = self.all + 1, self.casts + (func.overloadpacket.__name__ == "_to_copy")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("imagination", IMAGINATIONS)
def test_bfloat16_adds_few_operators_to_a_look(make_policy, make_observation, tmp_path, imagination):
    counts = {}
    for dtype in ("float32", "bfloat16"):
        fields = {"dtype": dtype, "imagination": imagination, "num_inference_steps": 4}
        make_policy(**fields).save_pretrained(tmp_path / dtype)
        policy, seen = WallwmPolicy.from_pretrained(tmp_path / dtype), make_observation(["close the gripper"])
        policy.predict_action_chunk(seen)
        with Operators() as counts[dtype]:
            policy.predict_action_chunk(seen)
    half, whole = counts["bfloat16"], counts["float32"]
    print(f"{imagination}: {whole.all} operators, in bfloat16 {half.all}, of which {half.casts} cast")
    assert half.all < 1.1 * whole.all
