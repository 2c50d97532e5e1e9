"""The two orders of the labels, and the way back from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.tasks.classification import Label, LabelOrder, local_prompt
from pipelines.tasks.label_order import (
    asked_fingerprint,
    in_given_order,
    mean_logprobs,
    reads_reversed,
    reversed_labels,
)

LABELS = (Label("A", "billing", "money"), Label("B", "outage", None), Label("C", "other", None))


def test_reversed_the_codes_stay_and_the_labels_turn() -> None:
    assert reversed_labels(LABELS) == (
        Label("A", "other", None),
        Label("B", "outage", None),
        Label("C", "billing", "money"),
    )
    assert reversed_labels(reversed_labels(LABELS)) == LABELS


def test_both_prompts_offer_the_same_codes() -> None:
    frame = local_prompt(reversed_labels(LABELS), "Sort it.")
    assert "A. other\nB. outage\nC. billing: money\n" in frame.before
    assert frame.codes == local_prompt(LABELS, "Sort it.").codes == ("A", "B", "C")


def test_scores_of_the_reversed_prompt_come_back_under_their_labels() -> None:
    by_label = {"billing": -0.1, "outage": -2.0, "other": -5.0}
    asked = np.array([[by_label[label.name] for label in reversed_labels(LABELS)]], np.float32)
    np.testing.assert_array_equal(in_given_order(asked), np.array([[-0.1, -2.0, -5.0]], np.float32))


def test_an_item_reads_the_same_order_whoever_else_is_asked_with_it() -> None:
    ids = [f"itm_{number:020x}" for number in range(2_000)]
    together = reads_reversed(ids)
    alone = np.concatenate([reads_reversed([item_id]) for item_id in ids[:50]])
    np.testing.assert_array_equal(together[:50], alone)
    assert 900 < together.sum() < 1_100, "both orders are read about equally often"
    assert reads_reversed([]).tolist() == []


def test_the_order_of_an_id_never_changes() -> None:
    """Another version of the product must go on with the shards of this one."""
    assert reads_reversed([f"itm_{number}" for number in range(12)]).astype(int).tolist() == [
        0,
        1,
        0,
        0,
        0,
        0,
        1,
        0,
        1,
        1,
        0,
        0,
    ]


@given(
    st.lists(st.tuples(st.floats(1e-30, 0.5), st.floats(1e-30, 0.5)), min_size=2, max_size=8),
)
def test_probabilities_and_mass_are_means(pairs: list[tuple[float, float]]) -> None:
    given_, turned = (np.log(np.array([column]), dtype=np.float32) for column in zip(*pairs, strict=True))
    mean = np.exp(mean_logprobs(given_, turned).astype(np.float64))
    expected = (np.exp(given_.astype(np.float64)) + np.exp(turned.astype(np.float64))) / 2
    np.testing.assert_allclose(mean, expected, rtol=1e-5)
    np.testing.assert_allclose(mean.sum(), expected.sum(), rtol=1e-5)


def test_a_label_that_one_order_rules_out_keeps_half_of_the_other() -> None:
    ruled_out = np.array([[-np.inf, -np.inf]], np.float32)
    mean = mean_logprobs(ruled_out, np.array([[0.0, -np.inf]], np.float32))
    np.testing.assert_allclose(np.exp(mean), [[0.5, 0.0]])


def test_as_given_the_fingerprint_is_the_prompts_and_no_two_orders_share_one() -> None:
    orders: list[LabelOrder] = ["given", "seeded", "averaged"]
    found = [asked_fingerprint(order, "straight", "turned") for order in orders]
    assert found[0] == "straight"
    assert len(set(found)) == 3


@pytest.mark.parametrize("order", ["seeded", "averaged"])
def test_another_prompt_has_another_fingerprint_in_every_order(order: LabelOrder) -> None:
    prints = {asked_fingerprint(order, *pair) for pair in (("a", "b"), ("a", "c"), ("c", "b"))}
    assert len(prints) == 3
