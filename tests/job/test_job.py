"""The job file: what is accepted, and the exact words for everything that can be wrong with it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import JobError
from pipelines.job.job import Job
from pipelines.job.job_file import load_job
from pipelines.job.job_reference import job_schema
from pipelines.job.sections import Escalation, ModelSource
from tests.job.job_case import CLAUDE, GOOD, load, path, problems

__all__ = ["path"]

REGENERATE = (
    "regenerate it: python -c \"from pipelines.job.job_reference import job_schema; print(job_schema(), end='')\" "
    "> pipelines/job/job.schema.json"
)


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
        "  line 14: compte: no such field; did you mean 'compute'; see pipelines/job/job.schema.json for the names"
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
        ("[" * 3000, "{path}:1: nested more than 40 deep"),
        ("name: \x01\n", "{path}: not YAML: unreadable"),
    ],
)
def test_not_yaml(path: Path, text: str, message: str) -> None:
    (problem,) = problems(path, text)
    assert problem.startswith(message.format(path=path))


@pytest.mark.parametrize("text", ["", "- name: tickets\n", "tickets\n", "# nothing\n"])
def test_not_a_mapping(path: Path, text: str) -> None:
    assert problems(path, text) == [f"{path}: a mapping is expected (name: ..., task: ..., input: ...)"]


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


UNPRINTABLE = "line 6: labels: control or private-use characters are not allowed"

TWICE = "is there twice but for its case, spaces or what cannot be seen; rename one"
COLON = "line 6: labels: one label a line with a colon is expected: `billing:`, or `billing: what it means`"


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ("{a: null}", "line 6: labels: at least 2 labels are needed, 1 given; there is nothing to decide"),
        ("{}", "line 6: labels: at least 2 labels are needed, 0 given; there is nothing to decide"),
        ("{Bug: x, bug: y}", f"line 6: labels: label 'Bug' {TWICE}"),
        ("{straße: x, STRASSE: y}", f"line 6: labels: label 'straße' {TWICE}"),
        ("{'bug ': x, bug: y}", f"line 6: labels: label 'bug ' {TWICE}"),
        ("{a  b: x, 'a b': y}", f"line 6: labels: label 'a  b' {TWICE}"),
        ('{"a\\u00a0b": x, a b: y}', f"line 6: labels: label 'a\xa0b' {TWICE}"),
        ('{"caf\\u00e9": x, "cafe\\u0301": y}', f"line 6: labels: label 'caf\u00e9' {TWICE}"),
        ('{"bug\\u200b": x, bug: y}', f"line 6: labels: label 'bug\u200b' {TWICE}"),
        ("{a: x, a: y}", "line 6: a: is there twice; remove one"),
        ("{a: x, '': y}", "line 6: labels: a label has an empty name"),
        ("{a: x, '  ': y}", "line 6: labels: a label has an empty name"),
        ('{a: x, "b\\ue000": y}', UNPRINTABLE),
        ('{a: x, b: "y\\u0007"}', UNPRINTABLE),
        ('{a: x, b: "\\U000f0000"}', UNPRINTABLE),
        ('{a: x, "\\u200b\\u00a0": y}', "line 6: labels: a label has an empty name"),
        ("[a, b]", COLON),
        ("[yes, no]", COLON),
        ("a, b", COLON),
        ("{a: x, no: y}", 'line 6: labels: YAML reads no as a truth value, not as text; put it in quotes: "no"'),
        ("{a: x, On: y}", 'line 6: labels: YAML reads On as a truth value, not as text; put it in quotes: "On"'),
        ("{a: x, 12: y}", 'line 6: labels: YAML reads 12 as a number, not as text; put it in quotes: "12"'),
        ("{a: x, 1_0.5: y}", 'line 6: labels: YAML reads 1_0.5 as a number, not as text; put it in quotes: "1_0.5"'),
        ("{a: x, 12:30: y}", 'line 6: labels: YAML reads 12:30 as a number, not as text; put it in quotes: "12:30"'),
        (
            "{a: x, 2024-05-01: y}",
            'line 6: labels: YAML reads 2024-05-01 as a date, not as text; put it in quotes: "2024-05-01"',
        ),
        ("{a: x, ~: y}", 'line 6: labels: YAML reads ~ as nothing, not as text; put it in quotes: "~"'),
        ("{a: x, b: no}", 'line 6: labels.b: YAML reads no as a truth value, not as text; put it in quotes: "no"'),
        ("{a: x, b: 7}", 'line 6: labels.b: YAML reads 7 as a number, not as text; put it in quotes: "7"'),
        ("{a: x, b: [y]}", "line 6: labels.b: input should be a valid string"),
    ],
)
def test_labels_that_are_refused(path: Path, labels: str, problem: str) -> None:
    text = GOOD.replace('{billing: "money", outage: null}', labels)
    assert problem in problems(path, text)


def test_each_label_that_yaml_does_not_read_as_text_is_told_with_its_own_line(path: Path) -> None:
    labels = "\n  yes: it is\n  no: it is not\n  on: perhaps"
    assert problems(path, GOOD.replace('{billing: "money", outage: null}', f"{labels}\n  'off': surely not")) == [
        f'line {line}: labels: YAML reads {word} as a truth value, not as text; put it in quotes: "{word}"'
        for line, word in ((7, "yes"), (8, "no"), (9, "on"))
    ]


def test_labels_in_quotes_are_text(path: Path) -> None:
    quoted = """{"yes": 'no', '12': null, "2024-05-01": "1.5", "~": x}"""
    assert list(load(path, GOOD.replace('{billing: "money", outage: null}', quoted)).labels) == [
        "yes",
        "12",
        "2024-05-01",
        "~",
    ]


def test_words_that_yaml_does_not_read_as_text_are_told_wherever_text_is_wanted(path: Path) -> None:
    told = problems(path, f"{GOOD}instructions: yes\ncolumns: {{text: 5}}\n")
    assert told == [
        'line 9: instructions: YAML reads yes as a truth value, not as text; put it in quotes: "yes"',
        'line 10: columns.text: YAML reads 5 as a number, not as text; put it in quotes: "5"',
    ]


def test_instructions_are_checked_like_labels(path: Path) -> None:
    assert problems(path, GOOD + 'instructions: "sort \\ue000 it"\n') == [
        "line 9: instructions: control or private-use characters are not allowed"
    ]
    assert load(path, GOOD + 'instructions: "sort\\n\\tit"\n').instructions == "sort\n\tit"


@pytest.mark.parametrize("evaluation", ["{}", "{gold_column: a, gold_file: b}"])
def test_known_answers_have_exactly_one_source(path: Path, evaluation: str) -> None:
    assert problems(path, f"{GOOD}evaluation: {evaluation}\n") == [
        "line 9: evaluation: give exactly one of gold_column and gold_file"
    ]


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
    committed = Path(__file__).parents[2] / "pipelines/job/job.schema.json"
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


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ("{source: x, engine: {max_model_len: abc}}", "model.engine: max_model_len: a whole number from 1 to"),
        ("{source: 3}", "model.source: YAML reads 3 as a number, not as text"),
        ("[starter]", "model: input should be a valid string"),
        ("3", "model: YAML reads 3 as a number, not as text"),
        ("{source: x, engine: 3}", "model.engine: input should be a valid dictionary"),
    ],
)
def test_a_mistake_in_the_model_is_told_once(path: Path, model: str, problem: str) -> None:
    with pytest.raises(JobError) as caught:
        load(path, GOOD.replace("model: starter", f"model: {model}"))
    (told,) = caught.value.problems
    assert problem in told
