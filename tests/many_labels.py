"""The starter model with a tokenizer that holds every code of two letters as one token, as those of large models do.

The starter model's own, made of 4,096 tokens of tickets, holds ten of the 676. Here they stand in the place of its
rarest tokens: what the model thinks of them means nothing, but its log-probabilities of them are its own. So many
labels are more than the 2,048 tokens that it was trained on: it reads on beyond, for what that is worth.
"""

from __future__ import annotations

import itertools
import json
import shutil
import string
from pathlib import Path

from workers.engines.catalogue import resolve_model

CODES = tuple("".join(pair) for pair in itertools.product(string.ascii_uppercase, repeat=2))


def many_coded_model(folder: Path, codes: int = len(CODES)) -> Path:
    """Copy the starter model to ``folder``, with so many one-token codes at the least."""
    shutil.copytree(resolve_model("starter").weights, folder)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    vocabulary, merges = content["model"]["vocab"], content["model"]["merges"]
    missing = [code for code in CODES[:codes] if code not in vocabulary]
    rarest = merges[-len(missing) :]
    merges[-len(missing) :] = [list(code) for code in missing]
    for merge, code in zip(rarest, missing, strict=True):
        vocabulary[code] = vocabulary.pop("".join(merge))
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["max_position_embeddings"] = 8_192
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
