"""What windows cost against what their tokens cost: long documents cut to one reading, and read in windows.

    python -m tests.bench.windows [--rounds 5]

One engine in this process, the sample model on one core; documents of some 6,300 tokens, none of which is read twice
but for what windows share. Processor time, which holds on a busy machine too. The first round warms up.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Sequence
from statistics import median

import numpy as np
from rich.console import Console

from flows.questions.classification import LabelQuestion
from pipelines.documents.records import Document
from pipelines.job.job import Job
from pipelines.job.job_file import load_job
from pipelines.store.schemas import WINDOWS
from tests.bench.children import REPOSITORY, busy_cores
from tests.bench.provenance import as_lines, markdown, provenance
from workers.engines.catalogue import catalogue, resolve_model
from workers.engines.engine import LabelEngine
from workers.engines.requests import ShardScores
from workers.engines.windows import score_windows
from workers.engines.word_tokens import TokenIds

_DOCUMENTS, _SENTENCES = 12, 330


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args(words)
    facts, chance, sentences = provenance(busy_cores()), random.Random(1), _sentences()
    cut, windowed = _question(), _question(long_documents={"how": "windows"})
    cpu, model = catalogue().devices["cpu"], resolve_model("starter")
    os.environ.update(cpu.environment)
    engine = LabelEngine(model.weights, {**cpu.engine, **model.engine, "enforce_eager": True}, cut.frame)
    rows, ratios = list[list[str]](), list[float]()
    for number in range(arguments.rounds + 1):
        (one, once), (all_, tokens) = (_measured(engine, each, sentences, chance) for each in (cut, windowed))
        if number:
            ratios.append((all_ / one) / (tokens / once))
            ratio = [f"{tokens / once:.2f}", f"{all_ / one:.2f}", f"{ratios[-1]:.2f}"]
            rows.append([str(number), f"{once:,}", f"{one:.2f}", f"{tokens:,}", f"{all_:.2f}", *ratio])
    engine.close()
    head = [
        "round",
        "tokens, cut",
        "CPU s",
        "tokens, windows",
        "CPU s",
        "times the tokens",
        "times the CPU s",
        "a token",
    ]
    text = f"{markdown(head, rows)}\n\nA token of a window costs {median(ratios):.2f} times one of a cut document "
    Console(highlight=False, width=160, soft_wrap=True).print(f"{text}(median). {as_lines(facts)}", markup=False)


def _sentences() -> list[str]:
    path = REPOSITORY / "sample_data/tickets/heldout/tickets.jsonl"
    texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    return [f"{sentence.strip()}." for text in texts for sentence in text.split(".") if len(sentence) > 20]


def _question(**changes: object) -> LabelQuestion:
    job = load_job(REPOSITORY / "sample_data/jobs/tickets.yaml").model_dump(mode="json")
    return LabelQuestion(Job.model_validate(job | changes), resolve_model("starter"))


def _measured(
    engine: LabelEngine, asked: LabelQuestion, sentences: Sequence[str], chance: random.Random
) -> tuple[float, int]:
    """Processor seconds and prompt tokens of some documents that were never read before."""
    texts = [" ".join(chance.choice(sentences) for _ in range(_SENTENCES)) for _ in range(_DOCUMENTS)]
    documents = [Document(f"doc-{number}", "in", number, text) for number, text in enumerate(texts)]
    rows = [row for table in asked.shards(documents, 10**9, lambda document: None) for row in table.to_pylist()]
    tokens = [np.array(row["tokens"], np.int32) for row in rows]

    def score(_ids: Sequence[str], parts: Sequence[TokenIds]) -> ShardScores:
        return engine.score(parts).result()

    ids = [row["item_id"] for row in rows]
    started = time.process_time()
    if asked.windows is None:
        scores = score(ids, tokens)
    else:
        scores = score_windows(score, ids, tokens, [row[WINDOWS] for row in rows], asked.windows).scores
    return time.process_time() - started, int(scores.input_tokens.sum())


if __name__ == "__main__":
    main()
