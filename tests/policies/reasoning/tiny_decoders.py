# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Every decoder class that Staircase Decoding supports, tiny and with random weights."""

import torch
import transformers

WIDTH, WORDS = 64, 512
SIZES = {
    "vocab_size": WORDS,
    "hidden_size": WIDTH,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
PICTURES = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": WIDTH}
TOKENS = {
    "image_token_id": 500,
    "video_token_id": 501,
    "vision_start_token_id": 502,
    "vision_end_token_id": 503,
}


def rope(section: list[int], **more: object) -> dict:
    return dict(rope_type="default", rope_theta=10000.0, mrope_section=section, **more)


def qwen3(layers: int = 8):
    return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**SIZES, num_hidden_layers=layers))


def llama(layers: int = 8):
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, num_hidden_layers=layers))


def smolvlm(layers: int = 8):
    text = dict(SIZES, num_hidden_layers=layers, model_type="llama")
    eyes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 64,
    }
    config = transformers.SmolVLMConfig(
        text_config=text, vision_config=eyes, image_token_id=500, scale_factor=2
    )
    return transformers.SmolVLMForConditionalGeneration(config)


def qwen3_vl(layers: int = 8):
    text = dict(SIZES, num_hidden_layers=layers, rope_parameters=rope([4, 2, 2], mrope_interleaved=True))
    eyes = dict(PICTURES, patch_size=16, num_position_embeddings=64, deepstack_visual_indexes=[0, 1])
    config = transformers.Qwen3VLConfig(text_config=text, vision_config=eyes, **TOKENS)
    return transformers.Qwen3VLForConditionalGeneration(config)


def qwen2_5_vl(layers: int = 8):
    sizes = {name: value for name, value in SIZES.items() if name != "head_dim"}
    text = dict(sizes, num_hidden_layers=layers, rope_parameters=rope([4, 2, 2]))
    eyes = dict(PICTURES, patch_size=14, fullatt_block_indexes=[1])
    config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=eyes, **TOKENS)
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def qwen3_5(layers: int = 8):
    text = dict(
        SIZES,
        num_hidden_layers=layers,
        linear_key_head_dim=16,
        linear_value_head_dim=16,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        rope_parameters=rope([1, 1, 0], partial_rotary_factor=0.25, mrope_interleaved=True),
    )
    eyes = dict(
        PICTURES, patch_size=16, num_position_embeddings=64, spatial_merge_size=2, temporal_patch_size=2
    )
    config = transformers.Qwen3_5Config(text_config=text, vision_config=eyes, **TOKENS)
    return transformers.Qwen3_5ForConditionalGeneration(config)


CLASSES = {make.__name__: make for make in (qwen3, llama, smolvlm, qwen3_vl, qwen2_5_vl, qwen3_5)}


def frozen(name: str, layers: int = 8):
    torch.manual_seed(0)
    return CLASSES[name](layers).eval().requires_grad_(False)
