"""Training examples: code as a review shows it, the answer that should come, and claims with their truth.

In: diffs of the grammar. Out: texts and token ids with the places where the network is to be right.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tokenizers import Tokenizer

from pipelines.documents.code.reading.diffs import read_diff
from pipelines.documents.code.records import Change, CodeLine
from pipelines.documents.code.shown import shown_text
from pipelines.tasks.code_review.categories import categories
from pipelines.tasks.code_review.findings import Finding
from pipelines.tasks.code_review.prompts import claim_block
from pipelines.tasks.code_review.verification import CLEAN_CLAIM, finding_claim
from sample_data.code_source.changes import Diff
from sample_data.code_source.programs import Fault
from sample_data.code_training.tokens import LINE_KEY, PromptIds, text_ids
from sample_data.starter_training.tokens import TURN_END_ID

TRUE, FALSE = 0, 1  # places in CLAIM_LABELS
# Kinds of lines, for the helping loss of `network`: nothing, the later lines of a fault, then the categories.
NO_FAULT, WITHIN_FAULT = 0, 1
LINE_KINDS = 2 + len(categories())
_CLAIMS = 3
_AVOIDED_RATE, _OTHER_CATEGORY_RATE = 0.5, 0.4
_WHOLE_FILE_RATE = 0.1
_SHIFT_RATE = 0.5
_MAX_SHIFT = 400


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim, its truth, and the kind of the line that it speaks of, if it speaks of one."""

    text: str
    truth: int
    line_kind: int | None


@dataclass(frozen=True, slots=True)
class Example:
    """Code with the kinds of its lines, and what is asked about it: the right answer, claims with their truth."""

    code: str
    line_kinds: tuple[int, ...]
    answer: str | None = None
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class Tail:
    """What follows the code: ids, and from which place on they are the network's own words.

    Of a claim about a line, also the place of the line's number and the kind of that line.
    """

    ids: tuple[int, ...]
    answer_from: int
    is_answer: bool = False
    number_place: int | None = None
    line_kind: int = NO_FAULT


@dataclass(frozen=True, slots=True)
class LineEnd:
    """Where a line of code ends, its kind, and the token of its number, if it has one."""

    place: int
    kind: int
    number_id: int | None


@dataclass(frozen=True, slots=True)
class Tokens:
    """An example in ids: several tails to one code."""

    code: tuple[int, ...]
    line_ends: tuple[LineEnd, ...]
    tails: tuple[Tail, ...]

    @property
    def length(self) -> int:
        """Tokens in all, without the prompt's beginning."""
        return len(self.code) + sum(len(tail.ids) for tail in self.tails)


def as_finding(fault: Fault) -> Finding:
    """The fault as the model is taught to report it: in the words of its category."""
    category = categories()[fault.category]
    return Finding(
        fault.path,
        fault.line,
        fault.end_line,
        category.severity,
        fault.category,
        category.description,
        category.advice,
    )


def answer_of(faults: Sequence[Fault]) -> str:
    """The answer in the order of the schema's fields, without spaces, as the engine's grammar wants it."""
    rows = [
        {
            "path": finding.path,
            "line": finding.line,
            "end_line": finding.end_line,
            "category": finding.category,
            "severity": finding.severity,
            "message": finding.message,
            "suggestion": finding.suggestion,
        }
        for finding in map(as_finding, faults)
    ]
    return json.dumps({"findings": rows}, separators=(",", ":"))


def make_example(generator: random.Random, diff: Diff, has_questions: bool = True) -> Example:
    """One example of a diff; now and then as a whole file, often further down in the file than it is."""
    change, _ = read_diff(diff.text, "training")
    shift = generator.randrange(_MAX_SHIFT) if generator.random() < _SHIFT_RATE else 0
    change = _shifted(change, shift, is_whole=generator.random() < _WHOLE_FILE_RATE)
    faults, avoided = (
        [replace(fault, line=fault.line + shift, end_line=fault.end_line + shift) for fault in given]
        for given in (diff.faults, diff.avoided_faults)
    )
    lines = [line for hunk in change.files[0].hunks for line in hunk.lines]
    shown = [line.number for line in lines if line.number is not None]
    avoided = [fault for fault in avoided if fault.line in shown]
    kinds = _kinds_by_number(faults)
    code = shown_text(change)
    if not has_questions:
        return Example(code, _line_kinds(code, kinds))
    claims = _claims(generator, faults, avoided, change.files[0].path, shown, kinds)
    return Example(code, _line_kinds(code, kinds), answer_of(faults), claims)


def _shifted(change: Change, shift: int, is_whole: bool) -> Change:
    def moved(line: CodeLine) -> CodeLine:
        return replace(
            line,
            number=line.number + shift if line.number is not None else None,
            sign=" " if is_whole and line.sign == "+" else line.sign,
        )

    (file,) = change.files
    hunks = tuple(
        replace(hunk, lines=tuple(moved(line) for line in hunk.lines if not (is_whole and line.sign == "-")))
        for hunk in file.hunks
    )
    return Change(
        () if is_whole else change.message, (replace(file, status="whole" if is_whole else file.status, hunks=hunks),)
    )


def _kinds_by_number(faults: Sequence[Fault]) -> dict[int, int]:
    names = list(categories())
    kinds: dict[int, int] = {}
    for fault in faults:
        kinds |= dict.fromkeys(range(fault.line + 1, fault.end_line + 1), WITHIN_FAULT)
        kinds[fault.line] = 2 + names.index(fault.category)
    return kinds


def _line_kinds(code: str, kinds: Mapping[int, int]) -> tuple[int, ...]:
    numbers = (line.partition("|")[0].rstrip(" +") for line in code.split("\n")[:-1])
    return tuple(kinds.get(int(number), NO_FAULT) if number.isdigit() else NO_FAULT for number in numbers)


def _claims(
    generator: random.Random,
    faults: Sequence[Fault],
    avoided: Sequence[Fault],
    path: str,
    shown: Sequence[int],
    kinds: Mapping[int, int],
) -> tuple[Claim, ...]:
    def about(fault: Fault, truth: int) -> Claim:
        return Claim(finding_claim(as_finding(fault)), truth, kinds.get(fault.line, NO_FAULT))

    claims = [Claim(CLEAN_CLAIM, FALSE if faults else TRUE, None)]
    claims += [about(fault, TRUE) for fault in generator.sample(faults, min(1, len(faults)))]
    while len(claims) < _CLAIMS:
        wrong = _wrong_fault(generator, faults, avoided, path, shown)
        if all((wrong.line, wrong.category) != (fault.line, fault.category) for fault in faults):
            claims.append(about(wrong, FALSE))
    return tuple(claims)


def _wrong_fault(
    generator: random.Random, faults: Sequence[Fault], avoided: Sequence[Fault], path: str, shown: Sequence[int]
) -> Fault:
    """Where a fault could be and is not, or another fault in the place of one, or one in another place."""
    if avoided and generator.random() < _AVOIDED_RATE:
        return generator.choice(avoided)
    line, category = generator.choice(shown), generator.choice(list(categories()))
    wrong = Fault(path, line, line, category, False)
    if not faults:
        return wrong
    fault = generator.choice(faults)
    if generator.random() < _OTHER_CATEGORY_RATE:
        return replace(fault, category=category)
    return replace(wrong, category=fault.category)


def tokenise(tokenizer: Tokenizer, prompts: PromptIds, examples: Sequence[Example]) -> Iterator[Tokens]:
    """Tokenise examples; the end of a line is a token of its own."""
    (line_end,) = text_ids(tokenizer, ["\n"])[0]
    codes = text_ids(tokenizer, [example.code for example in examples])
    for example, code in zip(examples, codes, strict=True):
        places = [place for place, token in enumerate(code) if token == line_end]
        starts = [0, *(place + 1 for place in places)]
        numbers = [
            code[start] if text[:1].isdigit() else None
            for start, text in zip(starts, example.code.split("\n"), strict=True)
        ]
        ends = tuple(LineEnd(*end) for end in zip(places, example.line_kinds, numbers, strict=False))
        yield Tokens(tuple(code), ends, tuple(_tails(tokenizer, prompts, example)))


def _tails(tokenizer: Tokenizer, prompts: PromptIds, example: Example) -> Iterator[Tail]:
    if example.answer is None:
        return
    (line_key,), answer = text_ids(tokenizer, [LINE_KEY, example.answer])
    yield Tail((*prompts.review, *answer, TURN_END_ID), len(prompts.review), is_answer=True)
    claims = text_ids(tokenizer, [claim_block(claim.text) for claim in example.claims])
    for claim, ids in zip(example.claims, claims, strict=True):
        tail = (*ids, *prompts.verdict, prompts.codes[claim.truth])
        if claim.line_kind is None:
            yield Tail(tail, len(tail) - 1)
        else:
            place = ids.index(line_key) + 1
            yield Tail(tail, len(tail) - 1, number_place=place, line_kind=claim.line_kind)
