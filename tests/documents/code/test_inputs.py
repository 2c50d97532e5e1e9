"""The inputs of a code review by its job's section."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.documents.code.inputs import is_pinned, list_code, read_code
from pipelines.documents.left_out import LeftOutList
from pipelines.documents.records import Document, RowColumns, SourceFile
from pipelines.errors import JobError, NoInputError
from pipelines.job.sections import Review
from tests.documents.code.reading.test_git import Repository

LIMIT = 100_000
DIFF = "--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n"


def read(location: Path | str, review: Review, sources: list[SourceFile] | None = None) -> list[Document]:
    found = sources or list_code(str(location), review).sources
    documents = read_code(str(location), found, review, RowColumns(text="diff"), LIMIT)
    return list(LeftOutList().take(documents))


def test_diffs_are_files_or_rows(tmp_path: Path) -> None:
    (tmp_path / "one.diff").write_text(DIFF)
    (tmp_path / "rows.jsonl").write_text('{"id": "r1", "diff": "%s"}\n' % DIFF.replace("\n", "\\n"))  # noqa: UP031  # braces are JSON's
    (tmp_path / "readme.md").write_text("Hello\n")
    documents = {document.document_id: document for document in read(tmp_path, Review())}
    assert documents["one.diff"].text == documents["r1"].text == '@file "a.py" modified\n@@\n-|x = 1\n1+|x = 2\n'
    assert "unsupported file type '.md'" in (documents["readme.md"].failure or "")


def test_a_run_reads_the_commits_that_names_stood_for(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r.git")
    first = repository.commit({"a.py": b"x = 1\n"})
    second = repository.commit({"a.py": b"x = 2\n"})
    review = Review(revisions=f"{first}..HEAD")
    sources = list_code(repository.path, review).sources
    assert [(source.uri, source.version) for source in sources] == [(repository.path, f"{first}..{second}")]
    assert sources[0].size_bytes > 0
    repository.commit({"a.py": b"x = 3\n"})
    assert [document.document_id for document in read(repository.path, review, sources)] == [second]
    assert len(read(repository.path, review)) == 2
    assert is_pinned(review)


def test_a_tree_now_or_as_of_a_revision(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r.git")
    commit = repository.commit({"a.py": b"x = 1\n"})
    as_of = read(repository.path, Review(tree=True, revision="HEAD"))
    assert [(document.document_id, document.document_uri) for document in as_of] == [
        ("a.py", f"{repository.path}@{commit}:a.py")
    ]
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "b.py").write_text("y = 1\n")
    now = Review(tree=True)
    assert [document.document_id for document in read(tmp_path / "tree", now)] == ["b.py"]
    assert not is_pinned(now)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NoInputError):
        list_code(str(tmp_path / "nothing"), Review())
    with pytest.raises(JobError, match="no git repository at"):
        list_code(str(tmp_path), Review(revisions="a..b"))
