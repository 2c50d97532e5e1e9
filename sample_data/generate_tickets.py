"""Make the sample support tickets: training set, held-out files with gold labels, broken inputs.

    python -m sample_data.generate_tickets [--seed 7] [--out sample_data/tickets] [--stats]

The same seed gives the same bytes. Everything is invented.
"""

import argparse
import csv
import io
import json
import shutil
from pathlib import Path

from sample_data.ticket_source.broken_files import GOOD_ROWS, write_broken
from sample_data.ticket_source.documents import MAX_WORDS, Document, write_split
from sample_data.ticket_source.heldout_files import gzip_bytes, write_heldout
from sample_data.ticket_source.statistics import describe, describe_overlap

DEFAULT_SEED = 7
TRAIN_PER_CLASS = 900
HELDOUT_PER_CLASS = 200


def train_bytes(documents: list[Document]) -> bytes:
    """Set the training documents as compressed JSON Lines."""
    rows = ({"id": d.id, "text": d.text, "label": d.label, "hardness": d.hardness} for d in documents)
    return gzip_bytes("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def gold_bytes(gold: list[tuple[str, str, str]]) -> bytes:
    """Set the gold rows as CSV."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("id", "label", "hardness"))
    writer.writerows(gold)
    return out.getvalue().encode()


def generate(out: Path, seed: int) -> tuple[list[Document], list[Document]]:
    """Write everything under `out`, the broken files beside it, and return the documents of both splits."""
    train = list(write_split("train", TRAIN_PER_CLASS, seed))
    heldout = list(write_split("heldout", HELDOUT_PER_CLASS, seed))
    folder = out / "heldout"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (out / "train.jsonl.gz").write_bytes(train_bytes(train))
    (out / "gold.csv").write_bytes(gold_bytes(write_heldout(heldout, folder, seed)))
    short = [document for document in heldout if len(document.text.split()) < MAX_WORDS // 10]
    write_broken(short[:GOOD_ROWS], out.parent / "broken")
    return train, heldout


def main() -> None:
    """Read the arguments, write the files, and print statistics when asked."""
    parser = argparse.ArgumentParser(description="Make the sample support tickets.")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "tickets")
    parser.add_argument("--stats", action="store_true", help="print statistics of what was made")
    arguments = parser.parse_args()
    train, heldout = generate(arguments.out, arguments.seed)
    if arguments.stats:
        print(*describe("train", train), *describe("heldout", heldout), describe_overlap(train, heldout), sep="\n")


if __name__ == "__main__":
    main()
