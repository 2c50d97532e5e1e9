"""LoRA adapters in PEFT's format, made here from numbers alone: neither peft nor torch is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

_STARTER = {"layers": 3, "hidden": 256, "heads": 4, "keys": 2, "head": 64}


def write_adapter(
    folder: Path, *, strength: float = 0.05, seed: int = 0, rank: int = 4, layers: int | None = None, **config: Any
) -> Path:
    """An adapter for a model of the starter's shapes; with strength 0 it changes nothing."""
    generator = np.random.default_rng(seed)
    hidden = config.pop("hidden", _STARTER["hidden"])
    width = {"q": _STARTER["heads"] * _STARTER["head"], "v": _STARTER["keys"] * _STARTER["head"]}
    tensors = {}
    for layer in range(layers or _STARTER["layers"]):
        for part, wide in width.items():
            name = f"base_model.model.model.layers.{layer}.self_attn.{part}_proj"
            tensors[f"{name}.lora_A.weight"] = generator.normal(0, 0.1, (rank, hidden)).astype(np.float32)
            tensors[f"{name}.lora_B.weight"] = generator.normal(0, strength, (wide, rank)).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": ["q_proj", "v_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps({**settings, "bias": "none", **config}))
    return folder
