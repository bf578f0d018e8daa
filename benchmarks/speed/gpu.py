# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Whether all that trains and acts on a CPU does so on one GPU, and whether memory is what `speed memory` counts.

`scripts/gpu_smoke.sh` installs and runs it. Random weights and data; some minutes. A check that fails is a row with its
error, and the others go on. After `--budget` seconds the rest is left out and named.
"""

import gc
import time
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from benchmarks.harness.batches import nano, observation, training_batch
from benchmarks.harness.rows import CannotRunError, Row, Spread
from benchmarks.harness.timing import in_turns
from benchmarks.speed.backbone_table import Sizes
from benchmarks.speed.memory import Run, memory
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

QUICK = {"tiny": True, "device": "cpu"}
TINY = {
    "image_size": (32, 32),
    "num_future_latents": 1,
    "video_width": 24,
    "video_depth": 2,
    "video_heads": 2,
    "video_ffn_width": 32,
    "text_dim": 16,
    "action_width": 16,
    "action_heads": 2,
    "action_ffn_width": 16,
}
# About 200 million parameters in Wan's proportions.
LARGE = {
    "video_width": 1024,
    "video_depth": 10,
    "video_heads": 8,
    "video_ffn_width": 4096,
    "action_width": 512,
    "action_heads": 8,
    "action_ffn_width": 1024,
    "gradient_checkpointing": True,
    "optimizer_lr": 1e-5,
}
STEPS = 3


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--tiny", action="store_true", help="a model of some thousand parameters, for the tests"
    )
    parser.add_argument(
        "--budget", type=float, default=450.0, help="seconds after which the rest is left out"
    )


@dataclass
class Bench:
    """What the checks share."""

    device: torch.device
    tiny: bool

    def policy(self, **fields: Any) -> WallwmPolicy:
        """A policy on the device; the same weights for the same sizes."""
        # bfloat16 is the trainer's autocast; the field would ask for nothing else on the CPU.
        sizes = {
            **TINY,
            **{k: v for k, v in fields.items() if k not in LARGE or k == "gradient_checkpointing"},
        }
        return nano(**(sizes if self.tiny else fields), device=str(self.device)).to(self.device)

    def autocast(self, bfloat16: bool) -> AbstractContextManager[Any]:
        """As accelerate opens it for the trainer."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16)

    def batch(self, policy: WallwmPolicy, size: int) -> dict[str, Any]:
        """Events of different lengths."""
        lengths = torch.arange(1, size + 1) * policy.config.horizon // size
        torch.manual_seed(0)
        found = training_batch(policy.config, size, lengths)
        found["index"] = torch.arange(size)
        return {k: v.to(self.device) if isinstance(v, torch.Tensor) else v for k, v in found.items()}

    def train(self, policy: Any, bfloat16: bool, size: int = 4) -> list[float]:
        """Losses of some steps."""
        batch = self.batch(policy, size)
        optimizer = policy.config.get_optimizer_preset().build(policy.get_optim_params())
        losses = []
        for _ in range(STEPS):
            policy.train()
            with self.autocast(bfloat16):
                loss, _ = policy.forward(batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            policy.update()
            losses.append(float(loss))
        if not all(map(_finite, losses)):
            raise ArithmeticError(f"losses are not finite: {losses}")
        return losses


def _finite(value: float) -> bool:
    return value == value and abs(value) < float("inf")


def sizes_of(policy: WallwmPolicy) -> Sizes:
    """A policy's model, for `memory`."""
    shape, config = policy.model.shape, policy.config
    return Sizes(
        video=shape.video,
        grid=policy.model.video.grid,
        views=len(config.image_features),
        latents=1 + shape.num_future_latents,
        text_tokens=shape.max_text_tokens,
        action_width=shape.action_width,
        action_heads=shape.action_heads,
        action_ffn_width=shape.action_ffn_width,
        action_dim=shape.action_dim,
        state_dim=shape.state_dim,
        horizon=shape.horizon,
    )


def _nano(bench: Bench, bfloat16: bool, packing: bool, **fields: Any) -> dict[str, Any]:
    policy = bench.policy(**fields)
    policy.model.shape = replace(policy.model.shape, packing=packing)
    losses = bench.train(policy, bfloat16)
    return {"losses": f"{losses[0]:.4f} to {losses[-1]:.4f}"}


def _compiled(bench: Bench) -> dict[str, Any]:
    policy = bench.policy()
    seen = {
        k: v.to(bench.device) if isinstance(v, torch.Tensor) else v
        for k, v in observation(policy.config).items()
    }
    expected = policy.predict_action_chunk(dict(seen))
    policy.reset()
    backend = "eager" if bench.tiny else "inductor"
    compiled = torch.compile(policy.predict_action_chunk, backend=backend)
    difference = float((compiled(dict(seen)) - expected).abs().max())
    if difference > 1e-2:
        raise ArithmeticError(f"compiled actions differ by {difference}")
    return {"note": f"{backend}; actions differ by at most {difference:.1e} of the range's half"}


def _lora(bench: Bench) -> dict[str, Any]:
    policy = bench.policy(landmarks=0)
    torch.nn.init.normal_(policy.model.action.head[-1].weight, std=0.01)  # a tower that has learned
    policy.config.pretrained_path = "random weights"
    adapted = policy.wrap_with_peft(peft_cli_overrides={"method_type": "LORA", "r": 8}).to(bench.device)
    losses = bench.train(adapted, True)
    share = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    share /= sum(p.numel() for p in adapted.parameters())
    return {"losses": f"{losses[0]:.4f} to {losses[-1]:.4f}", "note": f"trained share {share:.3f}"}


def _large(bench: Bench) -> dict[str, Any]:
    policy = bench.policy(**LARGE)
    count = sum(p.numel() for p in policy.parameters())
    bench.train(policy, True, 4)
    run = Run("large", "joint", batch=4, draws=2, checkpointing=True)
    return {"note": f"{count / 1e6:.1f} M parameters", "counted MB": memory(run, sizes_of(policy)).peak / 1e6}


def _latency(bench: Bench, imagination: str) -> dict[str, Any]:
    policy = bench.policy(imagination=imagination)
    seen = {
        k: v.to(bench.device) if isinstance(v, torch.Tensor) else v
        for k, v in observation(policy.config).items()
    }

    def look() -> None:
        with bench.autocast(False):
            policy.predict_action_chunk(dict(seen)).cpu()

    times = in_turns({"look": look}, 3 if bench.tiny else 20)["look"]
    return {"note": "ms a look: " + str(Spread.of(times))}


def _checks(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    checks: dict[str, Callable[[], dict[str, Any]]] = {}
    for bfloat16 in (False, True):
        for packing in (True, False):
            name = f"nano, {'bfloat16' if bfloat16 else 'float32'}, {'packed' if packing else 'padded'}"
            checks[name] = partial(_nano, bench, bfloat16, packing)
    checks["Muon, bfloat16"] = partial(_nano, bench, True, True, optimizer="muon")
    checks["stage video with its average, bfloat16"] = partial(_nano, bench, True, True, stage="video")
    checks["stage action, bfloat16"] = partial(_nano, bench, True, True, stage="action")
    checks["200 M, bfloat16, checkpointing"] = partial(_large, bench)
    checks["LoRA, bfloat16"] = partial(_lora, bench)
    for imagination in ("none", "anchor", "full"):
        checks[f"act, imagination={imagination}"] = partial(_latency, bench, imagination)
    checks["compile"] = partial(_compiled, bench)
    return checks


def rows(args: Namespace) -> Iterator[Row]:
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise CannotRunError(
            "there is no CUDA device: torch.cuda.is_available() is false. Fix: --device=cpu --tiny"
        )
    began = time.monotonic()
    for name, check in _checks(Bench(device, args.tiny)).items():
        if time.monotonic() - began > args.budget:
            yield Row("checks", {"what": name, "result": "left out: no time"}, False)
            continue
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        start = time.monotonic()
        try:
            cells, result = check(), "works"
        except Exception as error:  # the others go on; its row fails, and so does the benchmark
            traceback.print_exc()
            cells, result = {}, f"{type(error).__name__}: {str(error)[:200]}"
        cells = {"what": name, "result": result, "seconds": time.monotonic() - start, **cells}
        if device.type == "cuda":
            cells["peak MB"] = torch.cuda.max_memory_allocated() / 1e6
        yield Row("checks", cells, result == "works")
