"""What the second and third request about a document cost, where there are 300 labels: a real engine on this CPU.

The same prompt and documents, once with the codes of one request alone and once with all, in processes that take
turns: see README.md.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from pipelines.job.sections import ModelSource
from pipelines.tasks.classification import DEFAULT_INSTRUCTIONS, assign_codes, local_prompt
from tests.many_labels import many_coded_model
from workers.engines.catalogue import catalogue, resolve_model
from workers.engines.engine import LabelEngine
from workers.engines.requests import LABELS_A_REQUEST
from workers.engines.tokens import ModelTokenizer, TokenFrame

_LABELS, _DOCUMENTS, _WORDS, _ROUNDS, _TURNS = 300, 120, 150, 4, 3
_SOME = "parcel invoice charged twice the site is down please send money back hello thanks login error account"


def main() -> int:
    """Print a table: engine time and tokens of a document, with one request and with three."""
    found: dict[int, list[list[float]]] = {LABELS_A_REQUEST: [], _LABELS: []}
    for turn in range(_TURNS):
        for codes in sorted(found, reverse=turn % 2 == 1):
            child = subprocess.run(  # this module itself
                [sys.executable, "-m", "tests.bench.many_labels", str(codes)],
                check=True,
                capture_output=True,
                text=True,
            )
            found[codes] += json.loads(child.stdout.splitlines()[-1])
    print("| requests a document | ms of the engine a document | tokens of its prompts | of these computed |")
    print("|--:|--:|--:|--:|")
    for codes, rounds in found.items():
        milliseconds, read, computed = (median(column) for column in zip(*rounds, strict=True))
        print(f"| {-(-codes // LABELS_A_REQUEST)} | {milliseconds:.1f} | {read:,.0f} | {computed:,.0f} |")
    return 0


def measure(codes: int) -> list[list[float]]:
    """Of each round the means: milliseconds, tokens read, tokens computed."""
    with tempfile.TemporaryDirectory() as folder:
        many = many_coded_model(Path(folder) / "many")
        model = resolve_model(ModelSource(source=str(many), engine={"max_model_len": 8_192}))
        tokenizer, draw = ModelTokenizer(model), random.Random(0)
        labels = assign_codes({f"topic {number}": None for number in range(_LABELS)}, tokenizer.is_single_token, "many")
        frame = tokenizer.encode_frame(local_prompt(labels, DEFAULT_INSTRUCTIONS))
        cpu = catalogue().devices["cpu"]
        os.environ.update(cpu.environment)
        arguments = {**cpu.engine, **model.engine, "enforce_eager": True}
        engine = LabelEngine(model.weights, arguments, TokenFrame(frame.prefix, frame.suffix, frame.codes[:codes]))
    rounds = []
    for _ in range(_ROUNDS + 1):
        texts = [" ".join(draw.choices(_SOME.split(), k=_WORDS)) for _ in range(_DOCUMENTS)]
        scores = engine.score([np.array(each, np.int32) for each in tokenizer.encode_documents(texts)]).result()
        means = scores.device_nanoseconds / 1e6, scores.input_tokens, scores.input_tokens - scores.cached_tokens
        rounds.append([float(each.mean()) for each in means])
    engine.close()
    return rounds[1:]  # the first is the engine's own start


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(int(sys.argv[1]))))
        sys.exit(0)
    sys.exit(main())
