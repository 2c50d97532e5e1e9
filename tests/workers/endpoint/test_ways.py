"""What is read of a server's answer: exact numbers where it gives them, and a bound where it does not."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pipelines.tasks.classification import Label, local_prompt
from workers.endpoint.plain import plain
from workers.endpoint.served import Way
from workers.endpoint.ways import AskedOverHttp, NoAnswerError, NoCodeError, read_answer, read_usage, request_body

LABELS = (Label("A", "billing", None), Label("B", "outage", None), Label("C", "other", None))
ASKED = AskedOverHttp(LABELS, "Sort.", local_prompt(LABELS, "Sort."))


def chat(told: dict[str, float]) -> dict[str, Any]:
    listed = [{"token": token, "logprob": math.log(share)} for token, share in told.items()]
    return {"choices": [{"logprobs": {"content": [{"token": "A", "logprob": 0.0, "top_logprobs": listed}]}}]}


def test_a_label_beyond_the_likeliest_has_an_upper_bound_and_the_mass_is_a_lower_one() -> None:
    answer = read_answer("top_logprobs", chat({"A": 0.6, " A": 0.1, "The": 0.2, "It": 0.05}), ASKED)
    assert [round(math.exp(value), 6) for value in answer.logprobs] == [0.7, 0.05, 0.05]
    assert answer.mass is not None and math.isclose(answer.mass, 0.7)


def test_token_ids_are_exact() -> None:
    told = chat({"token_id:7": 0.6, "token_id:8": 0.3, "token_id:9": 0.05, "token_id:1": 0.01})
    answer = read_answer("token_ids", told, ASKED, (7, 8, 9))
    assert [round(math.exp(value), 6) for value in answer.logprobs] == [0.6, 0.3, 0.05]
    with pytest.raises(NoAnswerError, match="does not tell of the tokens that were asked for"):
        read_answer("token_ids", told, ASKED, (7, 8, 10))


def test_shares_become_probabilities_by_the_mass_where_it_is_told() -> None:
    shares = {"billing": 0.75, "outage": 0.25, "other": 0.0}
    content: dict[str, Any] = {"answers": {"label": {"probabilities": shares}}}
    without = read_answer("systemone", content, ASKED)
    assert without.mass is None and math.isclose(math.exp(without.logprobs[0]), 0.75)
    content["diagnostics"] = {"label": {"label_mass": 0.5}}
    told = read_answer("systemone", content, ASKED)
    assert told.mass == 0.5 and math.isclose(math.exp(told.logprobs[0]), 0.375)
    assert told.logprobs[2] > -math.inf


@pytest.mark.parametrize("way", ["systemone", "prompt_ids", "token_ids", "top_logprobs", "ollama"])
@pytest.mark.parametrize(
    "content",
    [
        {},
        {"choices": []},
        {"choices": [{"logprobs": 3}]},
        {"choices": [{"logprobs": {"content": [{"top_logprobs": [{"token": "A"}]}]}}]},
        {"choices": [{"logprobs": {"top_logprobs": [{"A": "high"}]}}]},
        {"answers": {"label": {"probabilities": {"billing": "much", "outage": 0, "other": 0}}}},
        {"answers": {"label": {"probabilities": {"billing": 97, "outage": 2, "other": 1}}}},
        {"answers": {"label": {"probabilities": {"outage": 1.0}}}},
        {"logprobs": [{"top_logprobs": None}]},
        {"logprobs": {"token": "A"}},
    ],
)
def test_whatever_else_comes_is_no_answer_and_nothing_worse(way: Way, content: dict[str, Any]) -> None:
    with pytest.raises(NoAnswerError):
        read_answer(way, content, ASKED, (7, 8, 9))
    assert read_usage(way, content).input_tokens is None


def test_percentages_and_positive_logarithms_are_no_probabilities() -> None:
    with pytest.raises(NoAnswerError, match="no log-probabilities"):
        read_answer("top_logprobs", chat({"A": 97.0, "B": 2.0, "C": 1.0}), ASKED)


def test_none_of_the_codes_is_no_answer() -> None:
    with pytest.raises(NoCodeError, match="none of the labels' codes is among the 3 likeliest"):
        read_answer(
            "ollama", {"logprobs": chat({"The": 0.5, "It": 0.2, "a": 0.1})["choices"][0]["logprobs"]["content"]}, ASKED
        )


def test_ollama_is_told_to_leave_nothing_out() -> None:
    body = request_body("ollama", "qwen3", ASKED, "text")
    assert body["truncate"] is False and body["shift"] is False and body["think"] is False
    assert body["options"] == {"temperature": 0, "num_predict": 1}


@pytest.mark.parametrize("mark", ["<|im_end|>", "</s>", "[/INST]", "<end_of_turn>", "<\uff5cUser\uff5c>", "</think>"])
def test_the_marks_of_chat_templates_stay_text(mark: str) -> None:
    assert mark not in plain(f"before {mark} after")
    assert plain(f"before {mark} after").replace(f"{mark[0]} ", mark[0]) == f"before {mark} after"


@pytest.mark.parametrize("text", ["a < b | c > d", "array[0]", "<b>bold</b> <sub>", "[INSTALL]", "x <= y"])
def test_other_texts_are_as_they_were(text: str) -> None:
    assert plain(text) == text
