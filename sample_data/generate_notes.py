"""Make the sample notes: short news in four topics, in two halves with their topics beside them.

    python -m sample_data.generate_notes [--seed 7] [--out sample_data/notes]

The same seed gives the same notes. Everything is invented.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from sample_data.note_source.notes import Note, write_notes
from sample_data.ticket_source.heldout_files import gzip_bytes

DEFAULT_SEED = 7
PER_TOPIC = 450
HALVES = ("first_half.jsonl.gz", "second_half.jsonl.gz")


def note_bytes(notes: Sequence[Note]) -> bytes:
    """Set notes as compressed JSON Lines."""
    rows = ({"id": n.id, "text": n.text, "topic": n.topic, "hardness": n.hardness} for n in notes)
    return gzip_bytes("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def generate(out: Path, seed: int) -> list[Note]:
    """Write both halves and return all notes."""
    notes = list(write_notes(PER_TOPIC, seed))
    out.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(HALVES):
        half = len(notes) // 2
        (out / name).write_bytes(note_bytes(notes[number * half : number * half + half]))
    return notes


def main() -> None:
    """Read the arguments and write the files."""
    parser = argparse.ArgumentParser(description="Make the sample notes.")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "notes")
    arguments = parser.parse_args()
    generate(arguments.out, arguments.seed)


if __name__ == "__main__":
    main()
