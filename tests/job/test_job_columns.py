"""What a job may say of its columns and of how its CSV is written."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from pipelines.errors import JobError
from pipelines.job.job_file import parse_job
from tests.job.job_case import GOOD


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            {"columns": {"carry": ["Answer"]}},
            "columns.carry: 'Answer': the results have a column 'answer' of their own",
        ),
        ({"columns": {"carry": ["a", "A"]}}, "columns.carry: 'A' is there twice"),
        ({"columns": {"text": "{subject"}}, None),  # the name of a column
        ({"columns": {"text": "{a} {b"}}, "columns.text: a single '{' at character 5 of the template"),
        ({"columns": {"text": []}}, "columns.text: tuple should have at least 1 item"),
        ({"columns": {"id": 3}}, "columns.id: YAML reads 3 as a number, not as text"),
        ({"csv": {"delimiter": ";;"}}, "csv.delimiter: ';;' is not one character"),
        ({"csv": {"delimiter": "\\t", "quote": "off"}}, None),
        ({"csv": {"delimiter": "'", "quote": "'"}}, "csv: delimiter, quote and escape are different characters"),
        ({"csv": {"encoding": "windos-1252"}}, "csv.encoding: no charset is called 'windos-1252'"),
    ],
)
def test_columns_and_csv_are_checked_with_the_job(given: dict[str, Any], problem: str | None) -> None:
    text = yaml.safe_dump({**yaml.safe_load(GOOD), **given})
    if problem is None:
        assert parse_job(text, "job.yaml").row_columns()
        return
    with pytest.raises(JobError) as caught:
        parse_job(text, "job.yaml")
    assert any(problem in told for told in caught.value.problems), caught.value.problems


def test_a_job_that_says_nothing_of_them_is_written_down_as_before() -> None:
    content = parse_job(GOOD, "job.yaml").model_dump(mode="json")
    assert "csv" not in content and "carry" not in content["columns"]
