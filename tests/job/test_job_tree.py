"""What a job file's YAML may be made of: bounded when written out, and of values that every part of us can hold."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipelines.errors import JobError
from pipelines.job.job_file import parse_job
from tests.job.job_case import GOOD, load, path, problems

__all__ = ["path"]

BOMB = GOOD + "".join(
    f"a{level}: &a{level} [{', '.join(['x' if level == 0 else f'*a{level - 1}'] * 10)}]\n" for level in range(9)
)
MERGES = GOOD + "m0: &m0 {a: 1}\n"
MERGES += "".join(f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}]}}\n" for n in range(1, 9))


def engine(arguments: str) -> str:
    return GOOD.replace("model: starter", f"model: {{source: a/b, engine: {arguments}}}")


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        MERGES,
        engine("{max_model_len: 8, a: &a [x,x,x,x,x,x,x,x,x,x]," + "b: [" + "*a," * 2_000 + "]}"),
        GOOD + f"a: &a '{'x' * 5_000}'\nb: [{'*a, ' * 300}]\n",
        GOOD + f"x: [{'a, ' * 300_000}]\n",
        GOOD + "x: " + "[" * 200_000,
        GOOD + "x: " + "{a: " * 200_000,
        GOOD + "x:\n" + "- " * 50_000,
        GOOD + "x: &x [*x]\n",
    ],
    ids=["aliases", "merges", "one-level", "text", "wide", "lists", "maps", "dashes", "itself"],
)
def test_what_is_too_much_when_written_out_is_refused_at_once(text: str) -> None:
    begun = time.process_time()
    with pytest.raises(JobError):
        parse_job(text, "job.yaml")
    assert time.process_time() - begun < 20, "ten minutes and 5 GB, before it was counted"


def test_the_bomb_is_told_with_its_limit(path: Path) -> None:
    assert problems(path, BOMB) == [
        f"{path}: more than 10,000 values; this is no job, once its aliases are written out"
    ]


def test_aliases_and_merges_of_a_usual_size_are_fine(path: Path) -> None:
    text = GOOD.replace('{billing: "money", outage: null}', '{billing: &what "money", outage: *what}')
    assert load(path, text).labels == {"billing": "money", "outage": "money"}
    assert load(path, GOOD.replace("name: tickets", "name: !!str tickets")).name == "tickets"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("!!bool maybe", "the tag 'bool' is not known in a job; write the plain value"),
        ("!!timestamp never", "the tag 'timestamp' is not known in a job; write the plain value"),
        ("!!float ''", "the tag 'float' is not known in a job; write the plain value"),
        ("!!int ''", "the tag 'int' is not known in a job; write the plain value"),
        ("!!binary aGk=", "the tag 'binary' is not known in a job; write the plain value"),
        ("!!set {a, b}", "the tag 'set' is not known in a job; write the plain value"),
        ("!!omap [a: 1]", "the tag 'omap' is not known in a job; write the plain value"),
        ("!!python/object/apply:os.system [id]", "the tag 'python/object/apply:os.system' is not known in a job; "),
        ("!mine 1", "the tag '!mine' is not known in a job; write the plain value"),
        ("9" * 5_000, "a number of 5,000 characters; put it in quotes if it is text"),
        ("0x" + "f" * 5_000, "a number of 5,002 characters; put it in quotes if it is text"),
        ("1" + ":1" * 100_000, "a number of 200,001 characters; put it in quotes if it is text"),
        ("9" * 40, "a number over 9,223,372,036,854,775,807; put it in quotes if it is text"),
        ('"\\uD800"', "a zero or half a character, which cannot be written down; remove it"),
        ('"a\\0b"', "a zero or half a character, which cannot be written down; remove it"),
    ],
)
def test_values_that_no_job_has_are_refused_with_their_line(path: Path, value: str, problem: str) -> None:
    [told] = problems(path, f"{GOOD}x: {value}\n")
    assert told.startswith(f"line 9: {problem}")


@pytest.mark.parametrize(
    "line",
    ["x: 2020-13-01", "x: 2001-12-14t21:59:43.10-99:99", "x: 0b_", "<<: 5", "? [a, b]\n: 1", "? {a: 1}\n: 1", "1: 2"],
)
def test_whatever_yaml_stumbles_over_is_a_problem_of_the_file(path: Path, line: str) -> None:
    assert problems(path, f"{GOOD}{line}\n")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("{max_model_len: 2k}", "max_model_len: a whole number from 1 to 100,000,000 is expected"),
        ("{max_model_len: true}", "max_model_len: a whole number from 1 to 100,000,000 is expected"),
        ("{tensor_parallel_size: 0}", "tensor_parallel_size: a whole number from 1 to 1,024 is expected"),
        ("{max_num_seqs: [1]}", "max_num_seqs: a whole number from 1 to 1,000,000 is expected"),
        ("{gpu_memory_utilization: 1.5}", "gpu_memory_utilization: a number from 0.01 to 1 is expected"),
        ("{a: 2020-01-01}", "a: a value of type date cannot be written down; put it in quotes"),
        ("{a: {b: [.nan]}}", "a: nan is not a number that can be written down"),
        ("{a: -.inf}", "a: -inf is not a number that can be written down"),
        ("{a: {1: 2}}", "a: names must be texts; put them in quotes"),
        ("{a: 99999999999999999}", "a: a number over 9,007,199,254,740,991 cannot be written down exactly"),
        ('{a: "x\\ey"}', "a: control characters and half characters are not allowed"),
        (
            "{max_model_len: 2k, b: 2020-01-01}",
            "b: a value of type date cannot be written down; put it in quotes; max_model_len: a whole number "
            "from 1 to 100,000,000 is expected",
        ),
    ],
)
def test_engine_arguments_are_checked_before_anything_is_done(path: Path, arguments: str, problem: str) -> None:
    assert f"line 5: model.engine: {problem}" in problems(path, engine(arguments))


def test_engine_arguments_of_every_kind_that_can_be_written_down_are_left_to_the_engine(path: Path) -> None:
    arguments = '{max_model_len: 2048, dtype: "float16", a: {b: [1, 2.5, null, false]}, enforce_eager: true}'
    job = load(path, engine(arguments))
    assert job == type(job).model_validate_json(job.model_dump_json())


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("'http://[::1'", "no place can be written like this (Invalid IPv6 URL); give a folder or s3://bucket/prefix"),
        ("ftp://x/y", "'ftp:' is a place of an unknown kind; give a folder or s3://bucket/prefix"),
        ("x" * 300, "longer than a path (4,000 bytes) or a name in it (255) can be; mend it"),
        ("x/" * 3_000, "longer than a path (4,000 bytes) or a name in it (255) can be; mend it"),
        ('"a\\eb"', "control characters and half characters are not allowed"),
    ],
)
def test_places_that_cannot_be_are_refused(path: Path, output: str, problem: str) -> None:
    assert problems(path, GOOD.replace("output: out/", f"output: {output}")) == [f"line 4: output: {problem}"]
    if "ftp" not in output:
        evaluation = problems(path, f"{GOOD}evaluation: {{gold_file: {output}}}\n")
        assert f"line 9: evaluation.gold_file: {problem}" in evaluation
