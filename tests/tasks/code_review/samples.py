"""Small findings, and code shown the way a run shows it."""

from typing import Any

from pipelines.documents.code.records import Change, CodeFile, CodeLine, Hunk
from pipelines.documents.code.shown import LineMap
from pipelines.tasks.code_review.findings import Finding, FindingRow
from pipelines.tasks.code_review.publication.coverage import Coverage

COMPLETE = Coverage(planned_items=3, reviewed_items=3)


def finding(**values: Any) -> Finding:
    fixed: dict[str, Any] = {
        "path": "src/app.py",
        "line": 2,
        "end_line": 2,
        "severity": "high",
        "category": "sql-injection",
        "message": "The name goes into the query as text.",
        "suggestion": None,
    }
    return Finding(**fixed | values)


def finding_row(about: Finding | None = None, **values: Any) -> FindingRow:
    fixed: dict[str, Any] = {
        "item_id": "itm_1",
        "document_id": "1.diff",
        "repository": "repo",
        "end_column": 9,
        "fingerprint": "f:1",
        "raw_prob": 0.9,
        "confidence": 0.8,
        "route": "accepted",
    }
    return FindingRow(finding=about or finding(), **fixed | values)


def shown(start: int = 1, **files: str) -> LineMap:
    """The lines of files, the first numbered ``start``; `src__app_py="x"` is the file src/app.py."""
    return LineMap(Change((), tuple(_whole_file(name, text, start) for name, text in files.items())))


def _whole_file(name: str, text: str, start: int) -> CodeFile:
    lines = tuple(CodeLine(number, " ", line) for number, line in enumerate(text.split("\n"), start))
    return CodeFile(name.replace("__", "/").replace("_py", ".py"), "whole", (Hunk("", lines),))
