"""Which claims of a review a source bears out, and that the gate ranks reviews as the rule does."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.adapting.reviews import PutClaim, Truth, label_claims, own_answers, ranked_logprobs, verified_anew
from pipelines.cascade.confidence import read_scores
from pipelines.documents.code.shown import LineMap
from pipelines.predictions import Predicted, read_predictions
from pipelines.store.schemas import REVIEWS
from pipelines.tasks.code_review.labelled_faults import Fault
from tests.tasks.code_review.samples import finding

LABELS = ("faulty", "clean")
NAMES = ("failure", "findings", "clean_claims", "dropped_findings", "unfinished")
PIECES = [
    LineMap.of('@file "src/app.py" added\n@@\n' + "".join(f"{line}+|x = {line}\n" for line in lines))
    for lines in (range(1, 11), range(11, 21))
]


def claim(about: int | None, piece: int = 0) -> PutClaim:
    return PutClaim(np.zeros(1, np.int32), about, PIECES[piece])


def fault(line: int, category: str = "sql-injection") -> Fault:
    return Fault(None, "src/app.py", line, line, category, "high")


def review_of(findings: list[tuple[float, float]], clean: list[tuple[float, float]], **more: Any) -> dict[str, Any]:
    keys = ("true_logprob", "false_logprob")
    return {
        "failure": None,
        "unfinished": None,
        "findings": [dict(zip(keys, pair, strict=True)) for pair in findings],
        "clean_claims": [dict(zip(keys, pair, strict=True)) for pair in clean],
        "dropped_findings": 0,
    } | more


def read(*reviews: dict[str, Any]) -> Predicted:
    schema = pa.schema([REVIEWS.field(name) for name in NAMES])
    return read_predictions(pa.Table.from_pylist(list(reviews), schema=schema), LABELS, None)


def test_known_faults_say_of_every_finding_and_of_every_silent_piece_whether_its_claim_is_true() -> None:
    findings = [finding(line=4, end_line=4), finding(line=4, end_line=4, category="dead-code")]
    claims = [claim(0), claim(1), claim(None, 1)]
    for faults, is_true in (
        ([fault(5)], (True, False, True)),
        ([fault(5), fault(15)], (True, False, False)),
        ([], (False, False, True)),
    ):
        assert label_claims(claims, findings, 2, Truth("faulty", faults)) == is_true


def test_a_document_that_was_read_at_once_is_clean_where_no_fault_is_known_anywhere_in_it() -> None:
    assert label_claims([claim(None)], [], 1, Truth("faulty", [fault(900)])) == (False,)
    assert label_claims([claim(None)], [], 1, Truth("clean", [])) == (True,)


def test_a_verdict_alone_tells_of_claims_only_where_nothing_is_left_to_choose() -> None:
    findings = [finding(line=4)]
    assert label_claims([claim(0)], findings, 1, Truth("clean", None)) == (False,)
    assert label_claims([claim(None)], [], 1, Truth("clean", None)) == (True,)
    assert label_claims([claim(None)], [], 1, Truth("faulty", None)) == (False,)
    assert label_claims([claim(0)], findings, 1, Truth("faulty", None)) == (None,), "which finding, nobody says"
    silent = [claim(None), claim(None, 1)]
    assert label_claims(silent, [], 2, Truth("faulty", None)) == (None, None), "which piece, nobody says"


def test_other_probabilities_of_the_claims_make_another_verdict_and_leave_the_review_that_was_kept() -> None:
    kept = review_of([(-0.1, -2.4)], [(-0.2, -1.7)])
    before = json.dumps(kept)
    claims = [claim(0), claim(None, 1)]
    assert own_answers(claims, kept) == (True, True)
    changed = verified_anew(kept, claims, np.log(np.array([[0.1, 0.9], [0.8, 0.2]], np.float32)))
    assert own_answers(claims, changed) == (False, True)
    assert read(kept, changed).scores.answer.tolist() == [0, 1]
    assert read(changed).scores.raw_prob.tolist() == pytest.approx([0.8])
    assert json.dumps(kept) == before


def shares() -> st.SearchStrategy[tuple[float, float]]:
    """Of true and false, with what is left for the rest of the vocabulary."""
    return st.tuples(st.floats(0.001, 1), st.floats(0.1, 1)).map(
        lambda given: (float(np.log(given[0] * given[1])), float(np.log(max(1e-6, (1 - given[0]) * given[1]))))
    )


@given(st.lists(st.tuples(st.lists(shares(), max_size=3), st.lists(shares(), max_size=2)), min_size=1, max_size=6))
def test_the_gate_sees_verdicts_ranked_as_the_rule_ranks_them(reviews: list[Any]) -> None:
    predicted = read(*(review_of(*each) for each in reviews), review_of([], [], failure="not JSON"))
    seen = read_scores(ranked_logprobs(predicted), None)
    assert seen.answer.tolist() == predicted.scores.answer.tolist()
    expected = np.maximum(predicted.scores.raw_prob * predicted.scores.label_mass, 1e-9)
    np.testing.assert_allclose(seen.raw_prob * seen.label_mass, expected, rtol=1e-6)
