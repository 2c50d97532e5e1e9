"""The committed sample code is what the generator makes, its labels fit it, and the product reads it."""

import ast
import itertools
import random
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from pipelines.documents.code.reading.diffs import show_diff
from pipelines.documents.code.reading.folder import read_folder
from pipelines.documents.code.reading.patch_reader import read_patches
from pipelines.documents.code.records import CodeLine, LeftOut
from pipelines.documents.code.shown import LineMap, read_shown
from pipelines.documents.records import Document, RowColumns
from pipelines.documents.sources.sources import list_sources
from pipelines.tasks.code_review.categories import categories
from pipelines.tasks.code_review.labelled_faults import LabelledFaults, read_labelled_faults
from sample_data.code_source.pieces import Piece, read_pieces
from sample_data.code_source.words import HELDOUT_ENTITIES, HELDOUT_FIELDS, choose_words, plural
from sample_data.generate_code import DEFAULT_SEED, generate, heldout_diffs, make_tree, training_diffs

CODE = Path(__file__).parents[2] / "sample_data" / "code"
MAX_DOCUMENT_BYTES = 1_000_000
GIT = ["git", "-c", "core.autocrlf=false"]


@cache
def diffs() -> dict[str, str]:
    """Every diff as a review shows it."""
    read: dict[str, str] = {}
    for source in list_sources(str(CODE / "diffs")):
        for document in read_patches(source, RowColumns(), MAX_DOCUMENT_BYTES):
            (shown,) = show_diff(document)
            assert isinstance(shown, Document) and shown.text is not None, shown
            read[shown.document_id] = shown.text
    return read


@cache
def labels(name: str) -> LabelledFaults:
    return read_labelled_faults(str(CODE / name))


def code_lines(shown: str) -> dict[tuple[str, int], CodeLine]:
    return {
        (file.path, line.number): line
        for file in read_shown(shown).files
        for hunk in file.hunks
        for line in hunk.lines
        if line.number is not None
    }


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_committed_files_are_what_the_generator_makes(tmp_path: Path) -> None:
    generate(tmp_path, DEFAULT_SEED)
    made = files_below(tmp_path)
    assert len(made) > 200
    assert {name: data for name, data in files_below(CODE).items() if name in made} == made
    assert {name for name in files_below(CODE) if name.startswith(("tree/", "diffs/"))} <= made.keys()


def test_another_seed_gives_other_code() -> None:
    assert [program.lines for program in make_tree(1)] != [program.lines for program in make_tree(2)]


def test_the_labels_name_every_diff() -> None:
    faults = labels("diff_faults.jsonl")
    assert faults.documents == diffs().keys()
    assert len(diffs()) >= 150
    clean = diffs().keys() - {fault.document_id for fault in faults.faults}
    assert 0.35 < len(clean) / len(diffs()) < 0.5


def test_many_kinds_of_fault_in_four_languages_are_planted() -> None:
    faults = labels("diff_faults.jsonl").faults
    assert len({fault.category for fault in faults}) >= 20
    assert {Path(fault.path).suffix for fault in faults} == {".py", ".js", ".go", ".sql"}


def test_planted_faults_came_in_with_the_change() -> None:
    for fault in labels("diff_faults.jsonl").faults:
        shown = diffs()[fault.document_id or ""]
        lines = code_lines(shown)
        signs = {lines[fault.path, number].sign for number in range(fault.line, fault.end_line + 1)}
        # A line that was there before is at fault where what guarded it was removed.
        assert signs == {"+"} or "\n-|" in shown.partition(f"\n{fault.line} |")[0], fault


def test_the_labels_name_every_file_of_the_tree_and_lines_that_it_has() -> None:
    read = list(read_folder(str(CODE / "tree"), MAX_DOCUMENT_BYTES))
    assert not [found for found in read if isinstance(found, LeftOut)]
    texts = {document.document_id: document.text for document in read if isinstance(document, Document)}
    faults = labels("tree_faults.jsonl")
    assert faults.documents == texts.keys()
    for fault in faults.faults:
        lines = LineMap.of(texts[fault.path] or "")
        assert fault.document_id == fault.path
        assert (lines.text_at(fault.path, fault.line) or "").strip() and lines.contains(fault.path, fault.end_line)


def test_every_diff_applies_to_the_tree(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(CODE / "tree", tree)
    subprocess.run([*GIT, "init", "--quiet", "."], cwd=tree, check=True)
    for path in sorted((CODE / "diffs").iterdir()):
        done = subprocess.run([*GIT, "apply", "--check", str(path)], cwd=tree, capture_output=True, text=True)
        assert done.returncode == 0, f"{path.name}: {done.stderr}"


def test_training_never_sees_held_out_words_pieces_or_diffs() -> None:
    held_out = {diff.text for _, diff in heldout_diffs(DEFAULT_SEED, make_tree(DEFAULT_SEED))}
    words = {*HELDOUT_ENTITIES, *map(plural, HELDOUT_ENTITIES), *HELDOUT_FIELDS}
    for diff in itertools.islice(training_diffs(DEFAULT_SEED), 500):
        assert diff.text not in held_out
        assert not any(place.is_new_kind for place in (*diff.faults, *diff.avoided_faults))
        paths = re.findall(r"^\+\+\+ b/\S*/(\w+)", diff.text, re.MULTILINE)
        assert not {part for path in paths for part in path.split("_")} & words


@pytest.mark.parametrize("piece", read_pieces(), ids=lambda piece: f"{piece.language}-{piece.category}")
def test_a_piece_says_where_its_fault_is(piece: Piece) -> None:
    words = choose_words(random.Random(3), is_heldout=True)
    clean = piece.render(words, is_faulty=False)
    assert not re.search(r"<(entit|Entit|ENTIT|field|db>|host>|secret|SECRET)", "\n".join(clean.lines))
    if piece.can_be_faulty:
        assert piece.category in categories()
        faulty = piece.render(words, is_faulty=True)
        assert faulty.lines != clean.lines
        assert faulty.lines[faulty.first].strip() and faulty.first <= faulty.last < len(faulty.lines)


@pytest.mark.parametrize("is_faulty", [False, True])
def test_python_pieces_are_python(is_faulty: bool) -> None:
    words = choose_words(random.Random(3), is_heldout=True)
    for piece in read_pieces():
        if piece.language == "python" and (piece.can_be_faulty or not is_faulty):
            source = "\n".join([*piece.imports, *piece.render(words, is_faulty).lines])
            try:
                ast.parse(source)
            except SyntaxError as error:
                raise AssertionError(source) from error
