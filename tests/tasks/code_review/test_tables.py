"""findings.arrow: there and back."""

from pipelines.store.schemas import from_arrow, to_arrow
from pipelines.tasks.code_review.tables import FINDINGS, findings_of, findings_table
from tests.tasks.code_review.samples import finding, finding_row

ROWS = [
    finding_row(finding(suggestion="db.run(q, name)")),
    finding_row(repository=None, raw_prob=None, confidence=None, end_column=None, route="escalated"),
]


def test_rows_survive_the_file() -> None:
    table = from_arrow(to_arrow(findings_table(ROWS)))
    assert table.schema.equals(FINDINGS, check_metadata=True)
    assert list(findings_of(table)) == ROWS


def test_no_findings_make_an_empty_table_with_all_columns() -> None:
    table = findings_table([])
    assert table.num_rows == 0
    assert table.schema.equals(FINDINGS)
    assert list(findings_of(table)) == []
