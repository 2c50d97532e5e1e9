"""What becomes of an item, for every way its request can end: the table in the module, line by line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.escalation.endings import MISSING, Ending, Given, RowVerdict, is_account_message, judge, label_reader
from pipelines.escalation.provider import ItemResult

LABELS = ["billing", "Outage"]
SECRET = "Zanzibar-4711"
NO_LABEL = RowVerdict(Ending.AGAIN, reason="Claude's answer is none of the job's labels")
REFUSED = RowVerdict(Ending.NEXT_TIER, reason="Claude refused to answer")
CUT = RowVerdict(Ending.NEXT_TIER, reason="Claude's answer was cut off; raise escalation.max_output_tokens")


def succeeded(text: str | None, stop_reason: str = "end_turn") -> ItemResult:
    return ItemResult("id", "succeeded", text=text, stop_reason=stop_reason, model="claude-haiku-5-5")


def errored(kind: str | None, message: str | None = "words") -> ItemResult:
    return ItemResult("id", "errored", error_type=kind, error_message=message)


def answered(label: str) -> RowVerdict:
    return RowVerdict(Ending.ANSWERED, Given(label))


def failed(kind: str) -> RowVerdict:
    return RowVerdict(Ending.AGAIN, reason=f"the provider failed ({kind})")


def refused(kind: str) -> RowVerdict:
    return RowVerdict(Ending.NEXT_TIER, reason=f"the provider refused the request ({kind})")


def account(reason: str) -> RowVerdict:
    return RowVerdict(Ending.ACCOUNT, reason=reason)


BALANCE = "Your credit balance is too low to access the Anthropic API."


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        # a label of the job, in any case
        (succeeded('{"label": "billing"}'), answered("billing")),
        (succeeded('{"label": "BILLING"}'), answered("billing")),
        (succeeded('{"label": " outage "}'), answered("Outage")),
        (succeeded('{"label": "Outage", "why": "x"}', "stop_sequence"), answered("Outage")),
        # refusal, cut off
        (succeeded("", "refusal"), REFUSED),
        (succeeded('{"label": "billing"}', "refusal"), REFUSED),
        (succeeded('{"label": "bil', "max_tokens"), CUT),
        (succeeded("", "max_tokens"), CUT),
        # not JSON
        (succeeded("billing"), NO_LABEL),
        (succeeded(""), NO_LABEL),
        (succeeded(None), NO_LABEL),
        (succeeded("[" * 100_000), NO_LABEL),
        (succeeded("9" * 10_000), NO_LABEL),
        # no label of the job
        (succeeded('{"label": "refund"}'), NO_LABEL),
        (succeeded('{"label": null}'), NO_LABEL),
        (succeeded('{"label": ["billing"]}'), NO_LABEL),
        (succeeded('{"answer": "billing"}'), NO_LABEL),
        (succeeded('["billing"]'), NO_LABEL),
        (succeeded('"billing"'), NO_LABEL),
        # the provider's failures
        *[
            (errored(kind), failed(kind))
            for kind in ("api_error", "overloaded_error", "timeout_error", "rate_limit_error", "conflict_error")
        ],
        # not done in time, stopped, lost
        (
            ItemResult("id", "expired"),
            RowVerdict(Ending.AGAIN, reason="the request expired before Claude answered"),
        ),
        (
            ItemResult("id", "canceled"),
            RowVerdict(Ending.AGAIN, reason="the request was canceled before Claude answered"),
        ),
        # the account, by type or by words
        (errored("billing_error", "pay"), account("billing_error: pay")),
        (errored("authentication_error", "key"), account("authentication_error: key")),
        (errored("permission_error", "no"), account("permission_error: no")),
        (errored("invalid_request_error", BALANCE), account(f"invalid_request_error: {BALANCE}")),
        (
            errored("rate_limit_error", "You have reached your specified API usage limits."),
            account("rate_limit_error: You have reached your specified API usage limits."),
        ),
        # the request itself
        (errored("invalid_request_error", "prompt is too long"), refused("invalid_request_error")),
        (errored("not_found_error"), refused("not_found_error")),
        (errored("request_too_large"), refused("request_too_large")),
        (errored("something_new"), refused("something_new")),
        (errored(None, None), refused("unknown_error")),
    ],
)
def test_every_line_of_the_table(result: ItemResult, verdict: RowVerdict) -> None:
    assert judge(result, label_reader(LABELS)) == verdict


def test_a_missing_row_is_asked_again() -> None:
    assert RowVerdict(Ending.AGAIN, reason="the provider gave no row for it") == MISSING


@pytest.mark.parametrize(
    ("message", "is_account"),
    [
        (BALANCE, True),
        ("You have reached your specified API usage limits.", True),
        ("This request would exceed your organization's Spend Limit", True),
        ("Your organization is on hold", True),
        ("prompt is too long: 300000 tokens > 200000 maximum", False),
        ("", False),
    ],
)
def test_only_the_words_tell_an_accounts_fault_from_a_requests(message: str, is_account: bool) -> None:
    assert is_account_message(message) is is_account


ANSWERS = st.one_of(
    st.text().map(lambda text: SECRET + text),
    st.text().map(lambda text: json.dumps({"label": SECRET + text})),
    st.text().map(lambda text: json.dumps({SECRET: text})),
    st.text().map(lambda text: json.dumps([SECRET + text])),
)


@given(ANSWERS, st.sampled_from(["end_turn", "refusal", "max_tokens", "pause_turn", "something new"]))
def test_a_verdict_has_a_label_or_a_reason_and_reasons_never_quote(text: str, stop_reason: str) -> None:
    verdict = judge(succeeded(text, stop_reason), label_reader(LABELS))
    assert (verdict.label is None) != (verdict.reason is None)
    assert (verdict.ending is Ending.ANSWERED) == (verdict.label is not None)
    assert SECRET not in (verdict.reason or "")
