"""The job file: what is accepted, and the exact words for everything that can be wrong with it."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.errors import JobError
from pipelines.job import Escalation, Job, ModelSource, Tier, job_schema
from pipelines.job_file import load_job

GOOD = """\
name: tickets
task: classification
input: inbox/
output: out/
model: starter
labels: {billing: "money", outage: null}
quality: {raw_threshold: 0.9}
escalation: off
"""
CLAUDE = "escalation: {model: claude-haiku-5-5}"
REGENERATE = (
    "regenerate it: python -c \"from pipelines.job import job_schema; print(job_schema(), end='')\" "
    "> pipelines/job.schema.json"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "job.yaml"


def load(path: Path, text: str, overrides: dict[str, Any] | None = None) -> Job:
    path.write_text(text, encoding="utf-8")
    return load_job(path, overrides)


def problems(path: Path, text: str, overrides: dict[str, Any] | None = None) -> list[str]:
    with pytest.raises(JobError) as caught:
        load(path, text, overrides)
    return caught.value.problems


def test_a_plain_job_is_read_with_its_defaults(path: Path) -> None:
    job = load(path, GOOD)
    assert job.labels == {"billing": "money", "outage": None}
    assert job.escalation is None
    assert (job.columns.text, job.columns.id) == ("text", "id")
    assert job.limits.max_document_bytes == 1_000_000
    assert job.compute.device_hour_usd is None


def test_every_problem_is_reported_at_once_with_its_line(path: Path) -> None:
    text = """\
name: Support Tickets
task: translation
input: inbox/
output: out/
model: starter
labels:
  billing: null
  outage: null
quality:
  raw_threshold: 1.5
escalation:
  model: claude-haiku-5-5
  chunk_items: 0
compte: {engines: 2}
"""
    with pytest.raises(JobError) as caught:
        load(path, text)
    assert str(caught.value) == (
        f"5 problems in {path}\n"
        "  line 1: name: string should match pattern '^[a-z0-9][a-z0-9-]{0,47}$'\n"
        "  line 2: task: input should be 'classification' or 'code_review'\n"
        "  line 10: quality.raw_threshold: input should be less than or equal to 1\n"
        "  line 13: escalation.chunk_items: input should be greater than or equal to 1\n"
        "  line 14: compte: no such field; see pipelines/job.schema.json for the names"
    )


def test_what_is_missing_is_named(path: Path) -> None:
    text = GOOD.replace("quality: {raw_threshold: 0.9}\n", "").replace("model: starter\n", "model: {revision: abc}\n")
    assert "line 5: model.source: missing" in problems(path, text)
    text = GOOD.replace("quality: {raw_threshold: 0.9}\n", "")
    assert problems(path, text) == [
        "line 1: quality: missing; give a target, a raw_threshold or `off`, or a budget_usd for Claude"
    ]


def test_a_name_that_is_there_twice_is_refused_rather_than_half_ignored(path: Path) -> None:
    text = GOOD + "name: other\ncolumns:\n  text: a\n  text: b\ncompute: {engines: 0}\n"
    assert sorted(problems(path, text)) == [
        "line 12: text: is there twice; remove one",
        "line 13: compute.engines: input should be greater than or equal to 1",
        "line 9: name: is there twice; remove one",
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(JobError) as caught:
        load_job(tmp_path / "no.yaml")
    assert caught.value.problems == [f"{tmp_path}/no.yaml: no such file; start from a file in sample_data/jobs/"]


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(JobError) as caught:
        load_job(tmp_path)
    assert caught.value.problems == [f"{tmp_path}: is a folder; name the .yaml file in it"]


def test_a_path_through_a_file(path: Path) -> None:
    path.write_text(GOOD)
    with pytest.raises(JobError) as caught:
        load_job(path / "job.yaml")
    assert caught.value.problems == [f"{path}/job.yaml: cannot be read (Not a directory); name a job file"]


def test_not_utf8(path: Path) -> None:
    path.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(JobError) as caught:
        load_job(path)
    assert caught.value.problems == [f"{path}: not UTF-8 at byte 9; save it as UTF-8"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [tickets\n", "{path}:2: not YAML: expected ',' or ']', but got '<stream end>'"),
        (GOOD + "\tinput: x\n", "{path}:9: not YAML: found character '\\t' that cannot start any token"),
        (GOOD.replace("tickets", "2026-13-01"), "{path}: not YAML: month must be in 1..12"),
        ("[" * 3000, "{path}: not YAML: maximum recursion depth exceeded"),
        ("name: \x01\n", "{path}: not YAML: unreadable"),
    ],
)
def test_not_yaml(path: Path, text: str, message: str) -> None:
    (problem,) = problems(path, text)
    assert problem.startswith(message.format(path=path))


@pytest.mark.parametrize("text", ["", "- name: tickets\n", "tickets\n", "# nothing\n"])
def test_not_a_mapping(path: Path, text: str) -> None:
    assert problems(path, text) == [f"{path}: a mapping is expected (name: ..., task: ..., input: ...)"]


@pytest.mark.parametrize("value", ["off", "'off'", "no", "false", "null", ""])
def test_escalation_off(path: Path, value: str) -> None:
    assert load(path, GOOD.replace("escalation: off", f"escalation: {value}")).escalation is None


@pytest.mark.parametrize("value", ["0", "on", "none"])
def test_escalation_that_is_neither_off_nor_a_section(path: Path, value: str) -> None:
    assert problems(path, GOOD.replace("escalation: off", f"escalation: {value}")) == [
        "line 8: escalation: input should be a valid dictionary or instance of Escalation"
    ]


def test_overrides_replace_what_the_file_says(path: Path) -> None:
    text = GOOD.replace("escalation: off", CLAUDE) + "evaluation: {gold_column: label}\n"
    job = load(path, text, {"input": "other/", "escalation.provider": "simulation"})
    assert job.input == "other/"
    assert job.escalation == Escalation(model="claude-haiku-5-5", provider="simulation")


def test_an_override_below_a_section_that_is_off_leaves_it_off(path: Path) -> None:
    assert load(path, GOOD, {"escalation.provider": "simulation"}).escalation is None


def test_a_bad_override_is_reported_like_a_bad_file(path: Path) -> None:
    text = GOOD.replace("escalation: off", CLAUDE)
    assert problems(path, text, {"escalation.provider": "openai", "input": ""}) == [
        "line 3: input: string should have at least 1 character",
        "line 8: escalation.provider: input should be 'anthropic', 'aws', 'google_cloud', 'bedrock' or 'simulation'",
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


WITH_CLAUDE = "escalation: {model: claude-haiku-5-5}"


@pytest.mark.parametrize(
    ("quality", "escalation", "dial"),
    [
        ("quality: {target: 0.95}", WITH_CLAUDE, "target"),
        ("quality: {target: 0.95, assurance: 0.9}\nbudget_usd: 1", WITH_CLAUDE, "target"),
        ("budget_usd: 1", WITH_CLAUDE, "budget"),
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
        ("off", WITH_CLAUDE, "`off` accepts every answer of the engine: set escalation to `off` too"),
        ("{target: 0.95, raw_threshold: 0.9}", WITH_CLAUDE, "give either target or raw_threshold"),
        ("{assurance: 0.9}", WITH_CLAUDE, "give either target or raw_threshold"),
    ],
)
def test_a_quality_that_cannot_be_kept(path: Path, quality: str, escalation: str, problem: str) -> None:
    text = GOOD.replace("quality: {raw_threshold: 0.9}", f"quality: {quality}").replace("escalation: off", escalation)
    (told,) = problems(path, text)
    assert told.endswith(f"quality: {problem}")


def test_labels_that_are_passed_on_must_be_labels(path: Path) -> None:
    assert problems(path, GOOD.replace("escalation: off\n", TIERS.replace("[outage]", "[Outage, refund]"))) == [
        "job: escalation.tiers: pass_on names 'Outage', 'refund', which is no label; use the labels' exact names"
    ]


def test_mistakes_in_a_tier_are_told(path: Path) -> None:
    text = GOOD.replace("escalation: off\n", TIERS.replace("64", "8").replace("{model: claude-opus-5-5}", "{name: x}"))
    told = problems(path, text)
    assert len(told) == 3
    assert any("max_output_tokens: input should be greater than or equal to 16" in problem for problem in told)
    assert any("model: missing" in problem for problem in told)
    assert any("name: no such field" in problem for problem in told)


def test_a_budget_is_exact_and_may_be_nothing(path: Path) -> None:
    assert load(path, GOOD).budget_usd is None
    assert load(path, GOOD + "budget_usd: 0.10\n").budget_usd == Decimal("0.1")
    assert load(path, GOOD + "budget_usd: 0\n").budget_usd == 0
    for wrong, words in {"-1": "greater than or equal to 0", ".inf": "finite", "much": "valid decimal"}.items():
        (problem,) = problems(path, f"{GOOD}budget_usd: {wrong}\n")
        assert problem.startswith("line 9: budget_usd: ")
        assert words in problem


@pytest.mark.parametrize("place", ["eu", "US"])
def test_claude_runs_in_the_us_or_anywhere(path: Path, place: str) -> None:
    text = GOOD.replace("escalation: off", f"escalation: {{model: a, inference_geo: {place}}}")
    assert problems(path, text) == ["line 8: escalation.inference_geo: input should be 'us' or 'global'"]


UNPRINTABLE = "line 6: labels: control or private-use characters are not allowed"


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ("{a: null}", "line 6: labels: at least 2 labels are needed, 1 given; there is nothing to decide"),
        ("{}", "line 6: labels: at least 2 labels are needed, 0 given; there is nothing to decide"),
        ("{Bug: x, bug: y}", "line 6: labels: label 'Bug' is there twice but for its case; names must differ in more"),
        (
            "{straße: x, STRASSE: y}",
            "line 6: labels: label 'straße' is there twice but for its case; names must differ in more",
        ),
        ("{a: x, a: y}", "line 6: a: is there twice; remove one"),
        ("{a: x, '': y}", "line 6: labels: a label has an empty name"),
        ("{a: x, '  ': y}", "line 6: labels: a label has an empty name"),
        ('{a: x, "b\\ue000": y}', UNPRINTABLE),
        ('{a: x, b: "y\\u0007"}', UNPRINTABLE),
        ('{a: x, b: "\\U000f0000"}', UNPRINTABLE),
        ("[a, b]", "line 6: labels: input should be a valid dictionary"),
        ("{a: x, no: y}", "line 6: labels.0.[key]: input should be a valid string"),
    ],
)
def test_labels_that_are_refused(path: Path, labels: str, problem: str) -> None:
    text = GOOD.replace('{billing: "money", outage: null}', labels)
    assert problem in problems(path, text)


def test_instructions_are_checked_like_labels(path: Path) -> None:
    assert problems(path, GOOD + 'instructions: "sort \\ue000 it"\n') == [
        "line 9: instructions: control or private-use characters are not allowed"
    ]
    assert load(path, GOOD + 'instructions: "sort\\n\\tit"\n').instructions == "sort\n\tit"


def test_simulation_needs_known_answers(path: Path) -> None:
    text = GOOD.replace("escalation: off", "escalation: {model: claude-haiku-5-5, provider: simulation}")
    assert problems(path, text) == [
        "job: escalation.provider `simulation` answers from gold labels: give evaluation.gold_column or "
        "evaluation.gold_file, or set escalation to `off` or its provider to `anthropic`"
    ]
    assert load(path, text + "evaluation: {gold_file: gold.csv}\n").evaluation is not None


@pytest.mark.parametrize("evaluation", ["{}", "{gold_column: a, gold_file: b}"])
def test_known_answers_have_exactly_one_source(path: Path, evaluation: str) -> None:
    assert problems(path, f"{GOOD}evaluation: {evaluation}\n") == [
        "line 9: evaluation: give exactly one of gold_column and gold_file"
    ]


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
    assert problems(path, text) == ["line 9: policy.never_escalate: input should be a valid string"]


def test_a_model_outside_the_catalogue(path: Path) -> None:
    text = GOOD.replace("model: starter", "model: {source: ./weights, engine: {max_model_len: 512}}")
    assert load(path, text).model == ModelSource(source="./weights", engine={"max_model_len": 512})


def test_prices_are_read_exactly(path: Path) -> None:
    assert str(load(path, GOOD + "compute: {device_hour_usd: 0.1}\n").compute.device_hour_usd) == "0.1"
    assert problems(path, GOOD + "compute: {device_hour_usd: .nan}\n") == [
        "line 9: compute.device_hour_usd: input should be a finite number"
    ]
    assert problems(path, GOOD + "compute: {device_hour_usd: -1}\n") == [
        "line 9: compute.device_hour_usd: input should be greater than or equal to 0"
    ]


def test_the_committed_schema_is_the_one_of_the_code() -> None:
    committed = Path(__file__).parents[1] / "pipelines" / "job.schema.json"
    assert committed.read_text(encoding="utf-8") == job_schema(), REGENERATE


def test_the_schema_knows_that_escalation_may_be_off() -> None:
    forms = Job.model_json_schema()["properties"]["escalation"]["anyOf"]
    assert {"enum": ["off", False]} in forms


@given(st.text())
def test_whatever_the_file_holds_it_is_a_job_or_a_job_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(JobError):
        load_job(path)


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
