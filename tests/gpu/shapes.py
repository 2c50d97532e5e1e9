"""Qwen models of full size without their weights: a folder with the configuration, for ``load_format: dummy``.

Shapes are those of the published checkpoints. Random weights answer nothing; they take the time that real ones take
(of a mixture of experts, as far as the router of random weights spreads tokens as evenly as a trained one).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Shape:
    """``parameters_per_token``: weights that a prompt's token is multiplied with, embedding and head left out."""

    parameters_per_token: float
    config: Mapping[str, Any]


_QWEN3 = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "attention_bias": False,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "head_dim": 128,
    "hidden_act": "silu",
    "max_position_embeddings": 40960,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1_000_000,
    "torch_dtype": "bfloat16",
    "vocab_size": 151936,
}


def _qwen35(model_type: str, architecture: str, layers: int, text: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "torch_dtype": "bfloat16",
        "tie_word_embeddings": False,
        "text_config": {
            "model_type": f"{model_type}_text",
            "dtype": "bfloat16",
            "torch_dtype": "bfloat16",
            "attn_output_gate": True,
            "full_attention_interval": 4,
            "head_dim": 256,
            "layer_types": (["linear_attention"] * 3 + ["full_attention"]) * (layers // 4),
            "linear_conv_kernel_dim": 4,
            "linear_key_head_dim": 128,
            "linear_num_key_heads": 16,
            "linear_num_value_heads": 32,
            "linear_value_head_dim": 128,
            "mamba_ssm_dtype": "float32",
            "max_position_embeddings": 262144,
            "num_attention_heads": 16,
            "num_hidden_layers": layers,
            "partial_rotary_factor": 0.25,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000_000, "partial_rotary_factor": 0.25},
            "vocab_size": 248320,
            **text,
        },
        "vision_config": {
            "model_type": model_type,
            "depth": 27,
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_heads": 16,
            "out_hidden_size": text["hidden_size"],
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
    }


SHAPES = {
    "Qwen3-0.6B": Shape(
        0.44e9,
        _QWEN3
        | {
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_attention_heads": 16,
            "num_hidden_layers": 28,
            "tie_word_embeddings": True,
        },
    ),
    "Qwen3-8B": Shape(
        6.95e9,
        _QWEN3
        | {
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_attention_heads": 32,
            "num_hidden_layers": 36,
            "tie_word_embeddings": False,
        },
    ),
    "Qwen3.5-9B": Shape(
        6.92e9,
        _qwen35(
            "qwen3_5",
            "Qwen3_5ForConditionalGeneration",
            32,
            {"hidden_size": 4096, "intermediate_size": 12288, "num_key_value_heads": 4},
        ),
    ),
    "Qwen3.5-35B-A3B": Shape(
        2.43e9,
        _qwen35(
            "qwen3_5_moe",
            "Qwen3_5MoeForConditionalGeneration",
            40,
            {
                "hidden_size": 2048,
                "moe_intermediate_size": 512,
                "num_experts": 256,
                "num_experts_per_tok": 8,
                "num_key_value_heads": 2,
                "shared_expert_intermediate_size": 512,
            },
        ),
    ),
}


def write_shape(name: str, folder: Path, layers: int | None = None) -> Path:
    """Write what vLLM reads of a model besides its weights; ``layers`` cuts it down, for machines without a GPU."""
    config = json.loads(json.dumps(SHAPES[name].config))
    if layers is not None:
        text = config.get("text_config", config)
        text["num_hidden_layers"] = layers
        if "layer_types" in text:
            text["layer_types"] = text["layer_types"][:layers]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    return folder
