"""What both sample models share: a small Qwen3 with tied embeddings, and how network and calibration are written.

In: sizes, a trained network, a fitted temperature. Out: a folder that vLLM serves. Knows nothing of the tasks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

from pipelines.tasks.classification import PromptFrame
from sample_data.starter_training.tokens import CONTEXT_TOKENS, PAD_ID, TURN_END_ID, frame_fingerprint


def small_qwen(**sizes: int | float) -> Qwen3Config:
    """Config of a network of these sizes, named as `Qwen3Config` names them; ``rope_theta`` among them."""
    rope = {"rope_type": "default", "rope_theta": sizes.pop("rope_theta")}
    return Qwen3Config(
        **sizes,
        max_position_embeddings=CONTEXT_TOKENS,
        rope_parameters=rope,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=TURN_END_ID,
        pad_token_id=PAD_ID,
    )


def save_network(network: Qwen3ForCausalLM, out: Path, origin: Mapping[str, str | int]) -> None:
    """Write weights and config; ``origin`` says in the config what the weights were trained on.

    The network is left as it was written, rounded to bfloat16, for what is fitted on it next.
    """
    network.to(torch.bfloat16)
    network.config.training = dict(origin)
    network.generation_config = GenerationConfig(eos_token_id=TURN_END_ID, pad_token_id=PAD_ID)
    network.save_pretrained(out)


def save_calibration(out: Path, frame: PromptFrame, labels: Sequence[str], temperature: float, fitted_on: int) -> None:
    """Write the temperature fitted on ``fitted_on`` answers, and for which weights, prompt and labels it holds."""
    calibration = {
        "method": "temperature",
        "temperature": round(temperature, 4),
        "fitted_on": fitted_on,
        "prompt_fingerprint": frame_fingerprint(out, frame),
        "labels": list(labels),
        "model_sha256": hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest(),
    }
    (out / "calibration.json").write_text(json.dumps(calibration, indent=2) + "\n", encoding="utf-8")
