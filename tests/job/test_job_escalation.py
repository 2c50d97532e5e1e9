"""The job file on quality and escalation: what Claude is asked, within which budget, and what contradicts itself."""

from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.job.job import Job
from pipelines.job.sections import Tier
from tests.job.job_case import CLAUDE, GOOD, load, path, problems

__all__ = ["path"]


@pytest.mark.parametrize("value", ["off", "'off'", "no", "false", "null", ""])
def test_escalation_off(path: Path, value: str) -> None:
    assert load(path, GOOD.replace("escalation: off", f"escalation: {value}")).escalation is None


@pytest.mark.parametrize("value", ["0", "on", "none"])
def test_escalation_that_is_neither_off_nor_a_section(path: Path, value: str) -> None:
    assert problems(path, GOOD.replace("escalation: off", f"escalation: {value}")) == [
        "line 8: escalation: input should be a valid dictionary or instance of Escalation"
    ]


TIERS = """\
escalation:
  tiers:
    - {model: claude-haiku-5-5, max_output_tokens: 64, pass_on: [outage]}
    - {model: claude-opus-5-5}
"""


def test_one_model_is_one_tier(path: Path) -> None:
    escalation = load(path, GOOD.replace("escalation: off", CLAUDE)).escalation
    assert escalation
    assert escalation.all_tiers == (Tier(model="claude-haiku-5-5"),)
    short = "escalation: {model: claude-haiku-5-5, max_output_tokens: 64}"
    escalation = load(path, GOOD.replace("escalation: off", short)).escalation
    assert escalation
    assert escalation.all_tiers == (Tier(model="claude-haiku-5-5", max_output_tokens=64),)


def test_tiers_are_asked_in_the_order_of_the_file(path: Path) -> None:
    escalation = load(path, GOOD.replace("escalation: off\n", TIERS)).escalation
    assert escalation
    assert [(tier.model, tier.max_output_tokens, tier.pass_on) for tier in escalation.all_tiers] == [
        ("claude-haiku-5-5", 64, ("outage",)),
        ("claude-opus-5-5", 1024, ()),
    ]


@pytest.mark.parametrize("value", ["{chunk_items: 5}", "{model: a, tiers: [{model: b}]}", "{tiers: []}"])
def test_a_model_or_tiers_and_not_both(path: Path, value: str) -> None:
    assert problems(path, GOOD.replace("escalation: off", f"escalation: {value}")) == [
        "line 8: escalation: give either model or tiers"
    ]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (
            "{max_output_tokens: 99, tiers: [{model: a}]}",
            "max_output_tokens goes with model; beside tiers, give it in each tier",
        ),
        (
            "{tiers: [{model: a}, {model: b, pass_on: [outage]}]}",
            "pass_on of the last tier, b: there is no tier to pass on to",
        ),
    ],
)
def test_what_no_tier_would_heed_is_refused(path: Path, value: str, problem: str) -> None:
    assert problems(path, GOOD.replace("escalation: off", f"escalation: {value}")) == [f"line 8: escalation: {problem}"]


def test_labels_that_are_passed_on_must_be_labels(path: Path) -> None:
    assert problems(path, GOOD.replace("escalation: off\n", TIERS.replace("[outage]", "[outages, refund]"))) == [
        "job: escalation.tiers: pass_on names 'outages', 'refund', which is no label; did you mean 'outage'; use the "
        "labels' names"
    ]


@pytest.mark.parametrize("name", ["Outage", "'outage '", '"\\u00a0outage\\u200b"'])
def test_a_label_that_is_passed_on_may_be_spelt_as_an_answer_may(path: Path, name: str) -> None:
    assert load(path, GOOD.replace("escalation: off\n", TIERS.replace("[outage]", f"[{name}]")))


def test_a_label_to_pass_on_that_yaml_does_not_read_as_text_is_told(path: Path) -> None:
    (told,) = problems(path, GOOD.replace("escalation: off\n", TIERS.replace("[outage]", "[no]")))
    assert "pass_on.0: YAML reads no as a truth value, not as text; put it in quotes" in told


def test_mistakes_in_a_tier_are_told(path: Path) -> None:
    text = GOOD.replace("escalation: off\n", TIERS.replace("64", "8").replace("{model: claude-opus-5-5}", "{name: x}"))
    told = problems(path, text)
    assert len(told) == 3
    assert any("max_output_tokens: input should be greater than or equal to 16" in problem for problem in told)
    assert any("model: missing" in problem for problem in told)
    assert any("name: no such field" in problem for problem in told)


@pytest.mark.parametrize(("place", "meant"), [("eu", ""), ("US", "; did you mean 'us'")])
def test_claude_runs_in_the_us_or_anywhere(path: Path, place: str, meant: str) -> None:
    text = GOOD.replace("escalation: off", f"escalation: {{model: a, inference_geo: {place}}}")
    assert problems(path, text) == [f"line 8: escalation.inference_geo: input should be 'us' or 'global'{meant}"]


def test_simulation_needs_known_answers(path: Path) -> None:
    text = GOOD.replace("escalation: off", "escalation: {model: claude-haiku-5-5, provider: simulation}")
    assert problems(path, text) == [
        "job: escalation.provider `simulation` answers from gold labels: give evaluation.gold_column or "
        "evaluation.gold_file, or set escalation to `off` or its provider to `anthropic`"
    ]
    assert load(path, text + "evaluation: {gold_file: gold.csv}\n").evaluation is not None


def test_a_rule_for_what_is_never_escalated(path: Path) -> None:
    assert load(path, GOOD).policy.never_escalate is None
    job = load(path, GOOD + 'policy: {never_escalate: "contains_pii == true"}')
    assert job.policy.never_escalate == "contains_pii == true"


def test_mistakes_in_the_rule_are_reported_with_the_others(path: Path) -> None:
    text = GOOD + "compute: {engines: 0}\npolicy:\n  never_escalate: contains_pii = true\n"
    assert problems(path, text) == [
        "line 9: compute.engines: input should be greater than or equal to 1",
        "line 11: policy.never_escalate: position 14: = is not a comparison; use ==",
    ]


def test_a_rule_is_text(path: Path) -> None:
    text = GOOD + "policy: {never_escalate: true}"
    assert problems(path, text) == [
        'line 9: policy.never_escalate: YAML reads true as a truth value, not as text; put it in quotes: "true"'
    ]


@pytest.mark.parametrize(
    ("quality", "escalation", "dial"),
    [
        ("quality: {target: 0.95}", CLAUDE, "target"),
        ("quality: {target: 0.95, assurance: 0.9}\nbudget_usd: 1", CLAUDE, "target"),
        ("budget_usd: 1", CLAUDE, "budget"),
        ("quality: {raw_threshold: 0.9}", "escalation: off", "raw_threshold"),
        ("quality: off", "escalation: off", "off"),
        ("quality: 'off'", "escalation: off", "off"),
    ],
)
def test_the_dial(path: Path, quality: str, escalation: str, dial: str) -> None:
    text = GOOD.replace("quality: {raw_threshold: 0.9}", quality).replace("escalation: off", escalation)
    assert load(path, text).dial == dial


@pytest.mark.parametrize(
    ("quality", "escalation", "problem"),
    [
        (
            "{target: 0.95}",
            "escalation: off",
            "a target is kept by asking Claude: set escalation, or give a raw_threshold",
        ),
        ("off", CLAUDE, "`off` accepts every answer of the engine: set escalation to `off` too"),
        ("{target: 0.95, raw_threshold: 0.9}", CLAUDE, "give either target or raw_threshold"),
        ("{assurance: 0.9}", CLAUDE, "give either target or raw_threshold"),
        ("{raw_threshold: 0.9, term_items: 5000}", CLAUDE, "term_items goes with a target; leave it out"),
        (
            "{target: 0.95, term_items: 5000, audit_items: 20}",
            CLAUDE,
            "term_items: every run of a term is sampled, so none has an audit beside it; leave audit_items out",
        ),
        (
            "{target: 0.99, term_items: 1500}",
            CLAUDE,
            "term_items: of 1,500 documents 15 may be wrong at a target of 0.99, which samples of small files cannot "
            "show; 2,000 are enough",
        ),
        (
            "{target: 1, term_items: 1500}",
            CLAUDE,
            "term_items: of 1,500 documents 0 may be wrong at a target of 1, which samples of small files cannot show",
        ),
        (
            "{target: 0.95, term_items: 5000}",
            f"{CLAUDE}\nbudget_usd: 1",
            "term_items: a run that a budget stops would be counted in its term half asked; leave budget_usd or "
            "term_items out",
        ),
    ],
)
def test_a_quality_that_cannot_be_kept(path: Path, quality: str, escalation: str, problem: str) -> None:
    text = GOOD.replace("quality: {raw_threshold: 0.9}", f"quality: {quality}").replace("escalation: off", escalation)
    (told,) = problems(path, text)
    assert told.endswith(f"quality: {problem}")


def test_a_job_without_a_term_is_written_down_as_ever(path: Path) -> None:
    """Its run's id is made from that."""
    with_term = GOOD.replace("quality: {raw_threshold: 0.9}", "quality: {target: 0.9, term_items: 500}")
    assert "term_items" not in load(path, GOOD).model_dump_json()
    assert '"term_items":500' in load(path, with_term.replace("escalation: off", CLAUDE)).model_dump_json()


def test_a_budget_is_exact_and_may_be_nothing(path: Path) -> None:
    assert load(path, GOOD).budget_usd is None
    assert load(path, GOOD + "budget_usd: 0.10\n").budget_usd == Decimal("0.1")
    assert load(path, GOOD + "budget_usd: 0\n").budget_usd == 0
    for wrong, words in {"-1": "greater than or equal to 0", ".inf": "finite", "much": "valid decimal"}.items():
        (problem,) = problems(path, f"{GOOD}budget_usd: {wrong}\n")
        assert problem.startswith("line 9: budget_usd: ")
        assert words in problem


def test_without_an_engine_everything_goes_to_claude() -> None:
    job = {
        "name": "no-engine",
        "task": "classification",
        "input": "in/",
        "output": "out/",
        "model": False,  # how YAML reads a bare `off`
        "labels": {"billing": None, "outage": None},
        "escalation": {"model": "claude-haiku-5-5"},
    }
    assert Job.model_validate(job).model is None
    with pytest.raises(ValidationError, match="nobody is left to answer"):
        Job.model_validate(job | {"escalation": False})
    with pytest.raises(ValidationError, match="missing"):
        Job.model_validate(job | {"model": "starter"})
