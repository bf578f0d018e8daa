# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a training step and a look need in memory, by backbone, stage, batch, devices and method.

Weights, gradients, optimiser and averages are counted on models without memory (the meta device). What a forward keeps for
its backward is counted by running one block of each tower at its real size on fake tensors, under the autocast of
training. `--check` compares with the peaks of real steps of scaled-down models on this machine's CPU, each in a process
of its own, and demands 10 %.

Weights that learn are float32 (4 bytes, as many for gradient and each moment); frozen ones are bfloat16 where the run is.
Peak of a step = weights + optimiser + averages + the larger of (kept activations and, with checkpointing, autocast's bfloat16
copies of the weights that learn; gradients) + what one block's backward holds besides. Without checkpointing the copies are
among what is kept. Data-parallel training (DDP) holds the gradients twice. Sharded over n devices, all but the activations is
an n-th, and the weights of two blocks are whole; but LeRobot 0.6.1 puts the whole policy, averages too, on each device before
it is sharded or gets an adapter, so that a card must hold that as well (`start`). Frozen encoders are not counted: umT5 is released before the
first step, the VAE takes 1.4 GB (5B) or 0.3 GB (1.3B) in bfloat16 and its own workspace.
"""

import json
import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.harness.rows import Row
from benchmarks.harness.timing import flop_counter, kept_bytes
from benchmarks.speed.backbone_table import SIZES, Sizes, action_tower
from lerobot_wallwm.hub.files.backbones import WanShape
from lerobot_wallwm.policies.towers.action_tower import ActionBlock, VideoLayer
from lerobot_wallwm.policies.towers.attention import rope_tables
from lerobot_wallwm.policies.towers.frame_layouts import PaddedFrames
from lerobot_wallwm.policies.towers.token_layouts import PaddedTokens
from lerobot_wallwm.policies.towers.video_tower import MultiViewVideoTower, MultiViewWanBlock

GIB, RANK = 2**30, 16
# 50 demonstrations of 10 events, each seen 20 times: our choice; how often they must be seen nobody has measured.
SAMPLES = 50 * 10 * 20
# Operations a second in bfloat16 (makers' data sheets, without sparsity), of which 0.4 are used, and dollars an hour. The
# last two are our guesses.
DEVICES = {"H100": (989e12, (2.0, 4.0)), "24 GB (RTX 4090)": (165e12, (0.3, 0.7))}
USED = 0.4
TRAINS = {"video": ("video",), "action": ("action",), "joint": ("video", "action")}
CARDS = {
    "8 GB": 8,
    "12 GB": 12,
    "16 GB": 16,
    "24 GB": 24,
    "32 GB": 32,
    "48 GB": 48,
    "80 GB": 80,
    "141 GB": 141,
}


class _Fake(FakeTensorMode):
    """Copies of fake tensors, such as the cross-view branch, belong to the same mode."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Fake":
        return self


FAKE = _Fake()
# Of a card's memory, what a process can use beside CUDA's context and the allocator's fragments. Our choice.
USABLE = 0.92


@dataclass(frozen=True)
class Run:
    """One way to train."""

    backbone: str
    stage: str = "joint"  # key of `TRAINS`
    batch: int = 1  # samples a device
    draws: int = 1  # K
    checkpointing: bool = False
    optimizer: str = "adamw"
    bfloat16: bool = True
    method: str = "one"  # one, DDP, FSDP1, FSDP2 or LoRA
    devices: int = 1
    average: bool = False


@dataclass(frozen=True)
class Memory:
    """Bytes on one device."""

    weights: int
    gradients: int
    optimizer: int
    average: int
    kept: int  # for the backward pass
    copies: int  # autocast's, of weights, until the forward ends
    block: int  # what one block's backward holds besides, and FSDP's whole weights
    start: int  # before the first step

    @property
    def peak(self) -> int:
        """Of a training step."""
        states = self.weights + self.optimizer + self.average
        return max(self.start, states + max(self.kept + self.copies, self.gradients) + self.block)


@cache
def towers(size: Sizes) -> dict[str, tuple[int, int]]:
    """Parameters of each tower, and those of them that Muon takes: matrices of the blocks."""
    with torch.device("meta"):
        video = MultiViewVideoTower(size.video, size.views, size.grid)
        both = {"video": video, "action": action_tower(size)}
    out = {}
    for name, tower in both.items():
        matrices = sum(m.weight.numel() for m in tower.blocks.modules() if isinstance(m, nn.Linear))
        out[name] = sum(p.numel() for p in tower.parameters()), matrices
    return out


def adapters(size: Sizes, rank: int = RANK) -> int:
    """Parameters of LoRA on all matrices of both towers' blocks."""
    with torch.device("meta"):
        video = MultiViewVideoTower(size.video, size.views, size.grid)
        blocks = [m for tower in (video, action_tower(size)) for m in tower.blocks.modules()]
    return sum(rank * (m.in_features + m.out_features) for m in blocks if isinstance(m, nn.Linear))


def _video_block(size: Sizes, batch: int) -> tuple[nn.Module, Any]:
    """A block of the video tower, and its forward on random tokens."""
    shape, views, tokens = size.video, size.views, size.tokens
    block = MultiViewWanBlock(shape.width, shape.ffn_width, shape.heads, cross_attn_norm=True)
    block.add_cross_view(shape.width)
    head = shape.width // shape.heads
    x = torch.randn(batch * views, size.latents, tokens, shape.width, requires_grad=True)
    text = torch.randn(batch, size.text_tokens, shape.width)
    time = torch.randn(batch * views, size.latents, 6, shape.width)
    within, across = (torch.randn(2, 1, n * tokens, 1, head) for n in (size.latents, views))
    frames = PaddedFrames(views, rope_tables(*within), rope_tables(*across), None, None)
    return block, partial(block, x, text, time, frames)


def _action_block(size: Sizes, batch: int, draws: int) -> tuple[nn.Module, Any]:
    """A block of the action tower, and its forward on random tokens."""
    width, video = size.action_width, size.video.width
    block = ActionBlock(width, size.action_heads, size.action_ffn_width, video)
    rows, length = batch * draws, 1 + size.horizon
    x = torch.randn(rows, length, width, requires_grad=True)
    seen = torch.randn(batch, size.views, size.latents, size.tokens, video, requires_grad=True)
    place, code = torch.randn(size.views, 1, size.tokens, video), torch.randn(size.latents, 1, video)
    rope = rope_tables(*torch.randn(2, length, 1, width // size.action_heads))
    valid = torch.ones(rows, size.horizon, dtype=torch.bool)
    time, layer = torch.randn(rows, 2, width), VideoLayer(seen, place, code, (1, 3), 1.0)
    return block, partial(block, x, time, layer, PaddedTokens(valid, 1, rope, None))


@cache
def kept_by_blocks(size: Sizes, batch: int, draws: int, bfloat16: bool) -> dict[str, tuple[int, int]]:
    """What one block of each tower keeps for its backward, and what enters it, in bytes."""
    with FAKE, torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        out = {}
        for name, (block, call) in {
            "video": _video_block(size, batch),
            "action": _action_block(size, batch, draws),
        }.items():
            x: Tensor = call.args[0]
            out[name] = kept_bytes(call, block), x.numel() * x.element_size()
    return out


@cache
def operations(size: Sizes, draws: int) -> dict[str, int]:
    """Floating-point operations of one sample's forward through the blocks of each tower."""
    out = {}
    with FAKE:
        for name, (_, call) in {
            "video": _video_block(size, 1),
            "action": _action_block(size, 1, draws),
        }.items():
            with flop_counter() as counter:
                call()
            out[name] = size.video.depth * counter.get_total_flops()
    return out


def training(run: Run) -> int:
    """Operations of `SAMPLES`, with checkpointing: a forward, again, and twice as many backward where weights learn."""
    once = operations(SIZES[run.backbone], run.draws)
    backward = 1 if run.method == "LoRA" else 2  # below an adapter no gradient of weights
    learns = TRAINS[run.stage]
    return SAMPLES * sum(
        each * (2 + backward if name in learns else 1)
        for name, each in once.items()
        if name == "video" or "action" in learns
    )


def memory(run: Run, size: Sizes | None = None) -> Memory:
    """What one device needs for a step of a run."""
    size = size or SIZES[run.backbone]
    counts, trains = towers(size), TRAINS[run.stage]
    trained = sum(counts[name][0] for name in trains)
    frozen = sum(count for count, _ in counts.values()) - trained
    matrices = sum(counts[name][1] for name in trains) if run.optimizer == "muon" else 0
    if run.method == "LoRA":
        trained, matrices, frozen = adapters(size), 0, frozen + trained
    states = [
        4 * trained + (2 if run.bfloat16 else 4) * frozen,
        4 * trained,
        4 * matrices + 8 * (trained - matrices),
        4 * trained * run.average,
    ]
    kept = kept_by_blocks(size, run.batch, run.draws, run.bfloat16)
    depth, whole, block = size.video.depth, 0, 0
    for name in ("video", "action"):
        if name == "video" and "video" not in trains and run.method != "LoRA":
            whole += depth * kept[name][1]  # its layers, which the action tower reads
        elif name == "action" and run.stage == "video":
            continue
        elif run.checkpointing:
            whole, block = whole + depth * kept[name][1], max(block, kept[name][0])
        else:
            whole += depth * kept[name][0]
    block = max(block, max(inputs for _, inputs in kept.values()))
    copies = 2 * trained if run.bfloat16 and run.checkpointing else 0
    # What is frozen below an adapter is laid in bfloat16 after it has come onto the device.
    start = (4 * (trained + frozen) if run.method == "LoRA" else states[0]) + states[3]
    if run.method == "DDP" and run.devices > 1:
        states[1] *= 2
    if run.method.startswith("FSDP"):
        states = [-(-each // run.devices) for each in states]
        largest = max(count // depth for count, _ in counts.values())
        block += 2 * largest * (2 if run.bfloat16 else 4) + 4 * largest
        copies = 0  # a block's go with it
    return Memory(*states, kept=whole, copies=copies, block=block, start=start)


def smallest_card(peak: int) -> str:
    """The smallest card that holds so many bytes."""
    return next((name for name, size in CARDS.items() if peak <= USABLE * size * 1e9), "none")


# ---------------------------------------------------------------- against real steps on this machine

_NARROW = WanShape(width=384, depth=6, heads=6, ffn_width=1536, latent_channels=16, text_dim=64)
SCALED = Sizes(
    video=_NARROW,
    grid=(6, 7),
    views=2,
    latents=5,
    text_tokens=32,
    action_width=256,
    action_heads=4,
    action_ffn_width=512,
    action_dim=20,
    state_dim=20,
    horizon=32,
)
# Weights dominate, and no block is much of them.
DEEP = replace(SCALED, video=replace(_NARROW, depth=24), latents=2, text_tokens=8, horizon=8)
PLAIN = Run("scaled", "joint", bfloat16=False)
CHECKED = {
    "weights dominate": (PLAIN, SCALED),
    "activations dominate": (replace(PLAIN, batch=6), SCALED),
    "checkpointing": (replace(PLAIN, batch=6, checkpointing=True), SCALED),
    "video frozen": (replace(PLAIN, stage="action", batch=4, draws=6), SCALED),
    "bfloat16": (replace(PLAIN, batch=2, bfloat16=True), SCALED),
    "bfloat16, checkpointing": (replace(PLAIN, batch=2, bfloat16=True, checkpointing=True), SCALED),
    "bfloat16, video frozen": (replace(PLAIN, stage="action", draws=6, bfloat16=True), DEEP),
    "deep, muon": (replace(PLAIN, optimizer="muon"), DEEP),
    "deep, one rank": (PLAIN, DEEP),
    "deep, two ranks of FSDP1": (replace(PLAIN, method="FSDP1", devices=2), DEEP),
    "deep, two ranks of FSDP2": (replace(PLAIN, method="FSDP2", devices=2), DEEP),
}


def measured(name: str) -> int:
    """Bytes that a real training step of `CHECKED` adds to a fresh process at its peak."""
    # Memory that is freed goes back at once, so that the peak is that of the tensors.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, "-m", "benchmarks.speed.memory", name]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout.splitlines()[-1])["peak"])


def _resident(field: str) -> int:
    with open("/proc/self/status", encoding="utf-8") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))


def real_steps(name: str) -> dict[str, int]:
    """By how much a process grows at most that trains a model of `CHECKED`; of several ranks, the larger."""
    run, _ = CHECKED[name]
    if run.devices == 1:
        return {"peak": _grown(name)}
    with TemporaryDirectory() as folder:
        mp.spawn(_rank, (name, folder, run.devices), nprocs=run.devices)
        return {"peak": max(int(file.read_text()) for file in Path(folder).glob("*.peak"))}


def _rank(rank: int, name: str, folder: str, ranks: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    Path(folder, f"{rank}.peak").write_text(str(_grown(name)))
    dist.barrier()
    dist.destroy_process_group()


def _grown(name: str, steps: int = 2) -> int:
    run, size = CHECKED[name]
    torch.set_num_threads(1)
    _train(replace(size, video=replace(size.video, depth=1, width=48, heads=2)), run, 1)  # libraries load
    with open("/proc/self/clear_refs", "w", encoding="utf-8") as refs:
        refs.write("5")  # the peak begins anew
    before = _resident("VmRSS")
    _train(size, run, steps)
    return _resident("VmHWM") - before


class _Towers(nn.Module):
    """Both, one after the other, to a loss."""

    def __init__(self, size: Sizes, run: Run):
        super().__init__()
        self.learns = "video" in TRAINS[run.stage]
        self.video = MultiViewVideoTower(size.video, size.views, size.grid)
        self.action = action_tower(size)
        self.video.gradient_checkpointing = self.action.gradient_checkpointing = run.checkpointing
        self.video.requires_grad_(self.learns)
        if run.bfloat16 and not self.learns:
            self.video.blocks.to(torch.bfloat16)

    def forward(self, z: Tensor, t: Tensor, text: Tensor, noised: Tensor, state: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.learns):
            features = self.video(z, t, text)
        valid = torch.ones(noised.shape[:2], dtype=torch.bool)
        seen = self.action.read_video(features.layers)
        velocity, remaining = self.action(noised, torch.rand(len(noised)), state, valid, seen)
        assert features.prediction is not None
        return velocity.square().mean() + features.prediction.square().mean() + remaining.mean()


def _sharded(towers: _Towers, method: str) -> nn.Module:
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
    from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy

    blocks = {MultiViewWanBlock, ActionBlock}
    if method == "FSDP1":
        by_block = partial(transformer_auto_wrap_policy, transformer_layer_cls=blocks)
        kwargs: dict[str, Any] = {"use_orig_params": True, "device_id": torch.device("cpu")}
        return FullyShardedDataParallel(towers, auto_wrap_policy=by_block, **kwargs)
    for module in [*(m for m in towers.modules() if type(m) in blocks), towers]:
        fully_shard(module)
    return towers


def _train(size: Sizes, run: Run, steps: int) -> None:
    from lerobot_wallwm.policies.training.muon import MuonAdamWConfig

    towers = _Towers(size, run)
    model = _sharded(towers, run.method) if run.method.startswith("FSDP") else towers
    shape, patch = size.video, size.video.patch
    height, width = (n * patch for n in size.grid)
    z = torch.randn(run.batch, size.views, shape.latent_channels, size.latents, height, width)
    text, t = torch.randn(run.batch, size.text_tokens, shape.text_dim), torch.rand(run.batch, size.latents)
    rows = run.batch * run.draws
    noised, state = torch.randn(rows, size.horizon, size.action_dim), torch.randn(rows, size.state_dim)
    parameters = [p for p in model.parameters() if p.requires_grad]
    if run.optimizer == "muon":
        blocks = [m for tower in (towers.video, towers.action) for m in tower.blocks.modules()]
        matrices = {id(m.weight) for m in blocks if isinstance(m, nn.Linear)}
        groups = [
            {"params": [p for p in parameters if (id(p) in matrices) is muon], "use_muon": muon}
            for muon in (True, False)
        ]
        optimizer: torch.optim.Optimizer = MuonAdamWConfig().build(groups)
    else:
        optimizer = torch.optim.AdamW(parameters, fused=True)
    for _ in range(steps):
        with torch.autocast("cpu", torch.bfloat16, enabled=run.bfloat16):
            loss = model(z, t, text, noised, state)
        loss.backward()
        del loss
        optimizer.step()
        optimizer.zero_grad()


# ---------------------------------------------------------------- the table

QUICK = {"check": False}


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="compare with real steps on this machine")


def _runs(backbone: str) -> Iterator[Run]:
    for stage in TRAINS:
        base = Run(backbone, stage, draws=6 if stage == "action" else 2, average=stage == "video")
        for batch in (1, 8):
            for checkpointing in (False, True):
                yield replace(base, batch=batch, checkpointing=checkpointing)
    joint = Run(backbone, "joint", draws=2, checkpointing=True)
    yield replace(joint, optimizer="muon")
    for devices in (8, 64):
        for method in ("DDP", "FSDP1", "FSDP2"):
            yield replace(joint, method=method, devices=devices)
    for checkpointing in (False, True):
        yield replace(joint, method="LoRA", checkpointing=checkpointing)


def rows(args: Namespace) -> Iterator[Row]:
    if args.check:
        alone = 0
        for name, (run, size) in CHECKED.items():
            predicted, real = memory(run, size).peak, measured(name)
            alone = real if run.devices == 1 else alone
            ratio = predicted / real
            cells = {"model": name, "counted MB": predicted / 1e6, "measured MB": real / 1e6, "ratio": ratio}
            cells |= {"of one rank's": real / alone if run.devices > 1 else None}
            holds = abs(ratio - 1) < 0.1 and (run.devices == 1 or real < 0.6 * alone)
            yield Row("counted beside measured peaks (at most 10 % apart)", cells, holds)
        return
    for backbone in ("wan2.2-5b", "wan2.1-1.3b", "nano"):
        for run in _runs(backbone):
            need = memory(run)
            cells = {"backbone": backbone, "stage": run.stage, "method": run.method}
            cells |= {"devices": run.devices, "batch": run.batch, "checkpointing": run.checkpointing}
            cells |= {"optimiser": run.optimizer}
            cells |= {f"{part}": value / GIB for part, value in asdict(need).items()}
            yield Row(
                "GiB on each device", cells | {"peak": need.peak / GIB, "card": smallest_card(need.peak)}
            )
        counts = sum(count for count, _ in towers(SIZES[backbone]).values())
        cells = {"backbone": backbone, "GiB in bfloat16": 2 * counts / GIB, "in float32": 4 * counts / GIB}
        yield Row("acting, without the VAE", cells | {"card": smallest_card(int(1.2 * 2 * counts))})
    for backbone in ("wan2.2-5b", "wan2.1-1.3b"):
        for stage, method in (("video", "one"), ("action", "one"), ("joint", "one"), ("joint", "LoRA")):
            run = Run(backbone, stage, draws=6 if stage == "action" else 2, checkpointing=True, method=method)
            count, cells = training(run), {"backbone": backbone, "stage": stage, "method": method}
            cells["TFLOP a sample"] = count / SAMPLES / 1e12
            for device, (rate, rent) in DEVICES.items():
                hours = count / (USED * rate) / 3600
                low, high = (hours * dollars for dollars in rent)
                cells |= {f"{device}, hours": hours, f"{device}, dollars": f"{low:.2f} to {high:.2f}"}
            yield Row("50 demonstrations: 10,000 samples, without waiting for data and VAE", cells)


if __name__ == "__main__":
    print(json.dumps(real_steps(sys.argv[1])))
