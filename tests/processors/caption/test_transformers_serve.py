# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm prepare --captioner=vlm` against `transformers serve` with a tiny vision-language model.

Random weights write noise, so that model shows the protocol (pictures, words, token counts) and the flagged fallback. A
second one, whose weights are set so that it says one fixed answer, shows that an answer comes through. Neither says
anything about caption quality. It needs `pip install ".[vlm-server]"`.
"""

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lerobot_wallwm.cli import main
from lerobot_wallwm.processors.source.events import read_events

NEEDED = ("fastapi", "uvicorn", "openai")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in NEEDED),
        reason=f"needs {', '.join(NEEDED)}: pip install '.[vlm-server]'",
    ),
]

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: "
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}\n{% endfor %}assistant:"
)


# The tiny dataset's episodes all have one task, two stages and five actions.
KNOWN = {
    "T1": "put the red cube on the blue disc",
    "S1": "fetch the red cube",
    "S2": "bring the red cube to the blue disc",
    "A1": "reach for the red cube",
    "A2": "grip the red cube",
    "A3": "carry the red cube to the blue disc",
    "A4": "let go of the red cube",
    "A5": "draw back from the blue disc",
}


def tiny_vlm(root: Path, answer: str | None = None) -> Path:
    """Saves a LLaVA of a few thousand weights with a byte-level tokenizer as a checkpoint.

    Args:
        root: Where to.
        answer: What it always says. It is one token then, and the weights are set by hand: whatever the last token,
            the answer follows, and after the answer the end.
    """
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>", "<image>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(['{"captions": {"A1": "reach for the cube"}}'], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": AddedToken("<image>", special=True)},
    )
    if answer is not None:
        fast.add_tokens([AddedToken(answer, normalized=False)])
    image_size, patch = 56, 14
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": image_size}, crop_size={"height": image_size, "width": image_size}
        ),
        tokenizer=fast,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**small, image_size=image_size, patch_size=patch),
        text_config=LlamaConfig(
            **small,
            num_key_value_heads=2,
            vocab_size=len(fast),
            max_position_embeddings=32_768,
            bos_token_id=fast.bos_token_id,
            eos_token_id=fast.eos_token_id,
            pad_token_id=fast.pad_token_id,
        ),
        image_token_index=fast.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
    )
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config)
    if answer is not None:
        said, end = fast.convert_tokens_to_ids(answer), fast.eos_token_id
        with torch.no_grad():
            for layer in model.model.language_model.layers:
                layer.self_attn.o_proj.weight.zero_()
                layer.mlp.down_proj.weight.zero_()
            words, head = model.get_input_embeddings().weight, model.lm_head.weight
            words.zero_()
            head.zero_()
            words[:, 0] = 1.0
            words[said, 0], words[said, 1] = 0.0, 1.0
            head[said, 0] = head[end, 1] = 10.0
    model.save_pretrained(root)
    processor.save_pretrained(root)
    return root


@contextlib.contextmanager
def serving(model: Path, log: Path):
    """Runs `transformers serve` on a free port of 127.0.0.1 while the block runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(model)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            until = time.monotonic() + 240
            while True:
                assert process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < until, "the server did not start\n" + log.read_text()[-2000:]
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                    break
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(30)


def prepare(dataset: Path, model: Path, folder: Path) -> dict:
    """Runs `wallwm prepare` against a server with this model; returns the captioning part of its summary."""
    log = folder / "server.log"
    with serving(model, log) as url:
        flags = [f"--dataset.root={dataset}", f"--out.root={folder / 'out'}", "--quiet=true"]
        flags += ["--captioner=vlm", f"--vlm.base_url={url}", f"--vlm.model={model}", "--vlm.attempts=2"]
        flags += ["--vlm.max_tokens=40", "--vlm.concurrency=2", "--vlm.tile=64", "--vlm.backoff_s=0.1"]
        assert main(["prepare", *flags]) == 0, log.read_text()[-3000:]
    report = json.loads((folder / "out" / "summary.json").read_text())["captioning"]
    assert report["requests"] == 6 and report["answers_without_token_counts"] == 0, log.read_text()[-3000:]
    assert report["prompt_tokens"] > 500 * report["attempts"]
    return report


def test_random_weights_give_noise_and_every_event_falls_back(tiny_dataset, tmp_path):
    report = prepare(tiny_dataset, tiny_vlm(tmp_path / "llava"), tmp_path)
    # The protocol worked: the server took words and pictures and answered 200 every time ...
    assert report["attempts"] == 12 and 0 < report["completion_tokens"] <= 12 * 40
    assert set(report["fallback_reasons"]) <= {"cut_off", "not_json", "schema"}
    # ... and every event stands with its kinematic caption and the reason.
    events = read_events(tmp_path / "out" / "events.parquet")
    records = pq.read_table(tmp_path / "out" / "captions.parquet").to_pylist()
    assert len(records) == len(events) == report["events_kinematic"]
    assert {(r["caption_source"], r["attempts"]) for r in records} == {("kinematic", 2)}


def test_an_answer_of_a_real_server_becomes_captions(tiny_dataset, tmp_path):
    report = prepare(tiny_dataset, tiny_vlm(tmp_path / "llava", json.dumps({"captions": KNOWN})), tmp_path)
    assert report["attempts"] == 6 and report["events_kinematic"] == 0
    events = read_events(tmp_path / "out" / "events.parquet")
    for level, letter in (("task", "T"), ("subtask", "S"), ("action", "A"), ("segment", "A")):
        own = [e.caption for e in events if e.level == level and e.episode_index == 4]
        assert own == [caption for name, caption in KNOWN.items() if name.startswith(letter)]
