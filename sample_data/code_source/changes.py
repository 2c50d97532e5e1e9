"""Diffs: a file before and after somebody added, broke, mended or reworded a function, and the faults that came in.

Faults come in with the change: their lines are added, or lose what guarded them. What else is shown is clean.
"""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sample_data.code_source.programs import (
    LANGUAGE_WEIGHTS,
    Fault,
    Program,
    choose_language,
    write_function,
    write_program,
)
from sample_data.code_source.words import choose_words, plural

CLEAN_RATE = 0.4
CONTEXT_LINES = 3  # around a change, as git shows them
_TWO_FAULTS_RATE = 0.15
_NEW_FILE_RATE = 0.12
_MESSAGE_RATE = 0.5
_LEAST_FUNCTIONS, _MOST_FUNCTIONS = 3, 8
_SUBJECTS = ("Work on {}", "Tidy up {}", "{}: second part", "Simplify {}", "{}: small changes", "Mend {}")
_HEADING = re.compile(r"[A-Za-z_$]")  # what git takes for the head of a function, when it knows no language
_MAX_HEADING_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Diff:
    """A unified diff with its faults, and places in the new file that could have had one."""

    text: str
    faults: tuple[Fault, ...]
    avoided_faults: tuple[Fault, ...]


def make_diff(
    generator: random.Random, is_heldout: bool, programs: Sequence[Program] = (), context: int = CONTEXT_LINES
) -> Diff:
    """A change of one file: of one of ``programs``, or of one made for it, or a new file."""
    faults = 0 if generator.random() < CLEAN_RATE else 2 if generator.random() < _TWO_FAULTS_RATE else 1
    language = choose_language(generator)
    if generator.random() < _NEW_FILE_RATE:
        after = write_program(generator, language, is_heldout, max(faults, generator.randint(1, 3)), faults)
        return _diff(generator, None, after, context)
    is_fix = not faults and generator.random() < 0.4
    base = _base(generator, language, is_heldout, is_fix, programs)
    if is_fix and base.faults():
        return _diff(generator, base, _mended(base), context)
    after = base
    is_edit = generator.random() < 0.5
    for place in range(max(1, faults)):
        after = (_edited if is_edit else _added)(generator, after, is_heldout, place < faults)
    return _diff(generator, base, after, context)


def make_new_file(generator: random.Random) -> Diff:
    """A new file for training, half of whose functions are faulty: more to learn from a line than in `make_diff`."""
    functions = generator.randint(2, _MOST_FUNCTIONS)
    faulty = sum(generator.random() < 0.5 for _ in range(functions))
    program = write_program(generator, generator.choice(list(LANGUAGE_WEIGHTS)), False, functions, faulty)
    return _diff(generator, None, program, CONTEXT_LINES)


def _base(
    generator: random.Random, language: str, is_heldout: bool, is_faulty: bool, programs: Sequence[Program]
) -> Program:
    own = [one for one in programs if one.language == language and bool(one.faults()) == is_faulty]
    if own:
        return generator.choice(own)
    functions = generator.randint(_LEAST_FUNCTIONS, _MOST_FUNCTIONS)
    return write_program(generator, language, is_heldout, functions, int(is_faulty))


def _mended(program: Program) -> Program:
    return replace(program, functions=tuple(replace(function, is_faulty=False) for function in program.functions))


def _added(generator: random.Random, program: Program, is_heldout: bool, is_faulty: bool) -> Program:
    place = generator.randint(0, len(program.functions))
    return program.inserted(place, write_function(generator, program, is_heldout, is_faulty))


def _edited(generator: random.Random, program: Program, is_heldout: bool, is_faulty: bool) -> Program:
    """A clean function loses its care, or speaks of another field."""
    places = [
        place
        for place, function in enumerate(program.functions)
        if not function.is_faulty and (function.piece.can_be_faulty or not is_faulty)
    ]
    if not places:
        return _added(generator, program, is_heldout, is_faulty)
    place = generator.choice(places)
    old = program.functions[place]
    if is_faulty:
        return program.replaced(place, replace(old, is_faulty=True))
    words = choose_words(generator, is_heldout, old.words["entity"])
    new = replace(old, words={**old.words, "field": words["field"], "Field": words["Field"], "n": words["n"]})
    if new.render() == old.render():
        return _added(generator, program, is_heldout, is_faulty)
    return program.replaced(place, new)


def _diff(generator: random.Random, before: Program | None, after: Program, context: int) -> Diff:
    subject = generator.choice(_SUBJECTS).format(plural(after.entity))
    message = f"{subject[0].upper()}{subject[1:]}\n\n" if generator.random() < _MESSAGE_RATE else ""
    path = after.path
    old_lines = before.lines if before is not None else []
    mode = "" if before is not None else "new file mode 100644\n"
    old_name = f"a/{path}" if before is not None else "/dev/null"
    body = difflib.unified_diff(old_lines, after.lines, old_name, f"b/{path}", n=context, lineterm="")
    lines = "".join(f"{_with_heading(line, old_lines)}\n" for line in body)
    return Diff(f"{message}diff --git a/{path} b/{path}\n{mode}{lines}", after.faults(), after.avoided_faults())


def _with_heading(line: str, old_lines: Sequence[str]) -> str:
    """Behind the numbers of a hunk, the head of what it stands in, as git writes it."""
    hunk = re.fullmatch(r"@@ -(\d+)(?:,\d+)? .* @@", line)
    if hunk is None:
        return line
    above = reversed(old_lines[: max(0, int(hunk[1]) - 1)])
    heading = next((text for text in above if _HEADING.match(text)), "")
    return f"{line} {heading[:_MAX_HEADING_CHARACTERS]}".rstrip()
