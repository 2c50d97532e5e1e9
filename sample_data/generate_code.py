"""Make the sample code: a source tree with planted faults, held-out diffs of it, and the labels of both.

    python -m sample_data.generate_code [--seed 7] [--out sample_data/code]

The same seed gives the same bytes. Everything is invented. Training diffs come from the same grammar and are made
when a model is trained; they are not kept.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipelines.tasks.code_review.categories import categories
from sample_data.code_source.changes import CONTEXT_LINES, Diff, make_diff
from sample_data.code_source.programs import Fault, Program, write_program

DEFAULT_SEED = 7
HELDOUT_DIFFS = 200
TREE_FILES = {"python": 20, "javascript": 8, "go": 6, "sql": 4}
_LEAST_FUNCTIONS, _MOST_FUNCTIONS = 4, 7
# Every so manieth file of the tree has a fault, the others have none.
_FAULTY_EVERY = 2


def make_tree(seed: int) -> list[Program]:
    """The files of the tree, each path once."""
    generator = random.Random(f"tree {seed}")
    programs: dict[str, Program] = {}
    for language, count in TREE_FILES.items():
        own: list[Program] = []
        while len(own) < count:
            functions = generator.randint(_LEAST_FUNCTIONS, _MOST_FUNCTIONS)
            faulty = int(len(own) % _FAULTY_EVERY == 0)
            program = write_program(generator, language, True, functions, faulty)
            if program.path not in programs:
                own.append(program)
                programs[program.path] = program
    return sorted(programs.values(), key=lambda program: program.path)


def heldout_diffs(seed: int, tree: list[Program]) -> Iterator[tuple[str, Diff]]:
    """Document id and diff, each text once."""
    generator = random.Random(f"heldout {seed}")
    seen: set[str] = set()
    while len(seen) < HELDOUT_DIFFS:
        diff = make_diff(generator, True, tree)
        if diff.text not in seen:
            seen.add(diff.text)
            yield f"{len(seen):04}.diff", diff


def training_diffs(seed: int) -> Iterator[Diff]:
    """Without end; never a held-out word, piece or file. Most show less around the change, which is learnt faster."""
    generator = random.Random(f"train {seed}")
    while True:
        yield make_diff(generator, False, context=generator.choice((1, 1, 2, CONTEXT_LINES)))


def generate(out: Path, seed: int) -> None:
    """Write `tree/`, `diffs/`, `tree_faults.jsonl` and `diff_faults.jsonl` under ``out``."""
    tree = make_tree(seed)
    for folder in ("tree", "diffs"):
        shutil.rmtree(out / folder, ignore_errors=True)
        (out / folder).mkdir(parents=True)
    for program in tree:
        path = out / "tree" / program.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in program.lines), encoding="utf-8")
    _write_faults(out / "tree_faults.jsonl", [(program.path, program.faults()) for program in tree])
    diffs = list(heldout_diffs(seed, tree))
    for name, diff in diffs:
        (out / "diffs" / name).write_text(diff.text, encoding="utf-8")
    _write_faults(out / "diff_faults.jsonl", [(name, diff.faults) for name, diff in diffs])


def _write_faults(path: Path, documents: list[tuple[str, tuple[Fault, ...]]]) -> None:
    rows: list[dict[str, str | int | bool]] = []
    for document_id, faults in documents:
        rows += [
            {
                "document_id": document_id,
                "path": fault.path,
                "line": fault.line,
                "end_line": fault.end_line,
                "category": fault.category,
                "severity": categories()[fault.category].severity,
                "is_new_kind": fault.is_new_kind,
            }
            for fault in faults
        ] or [{"document_id": document_id}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Read the arguments and write the files."""
    parser = argparse.ArgumentParser(description="Make the sample code with planted faults.")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "code")
    arguments = parser.parse_args()
    generate(arguments.out, arguments.seed)


if __name__ == "__main__":
    main()
