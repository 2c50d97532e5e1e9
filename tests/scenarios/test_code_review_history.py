"""Every commit of a repository reviewed by one command: killed half way, resumed, and compared with itself later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow.dataset as dataset
import pygit2
import pytest
import yaml
from pygit2.enums import FileMode

from pipelines.store.schemas import from_arrow
from tests.scenarios.pipeline_command import REPOSITORY, PipelineCommand

SARIF_SCHEMA = json.loads((REPOSITORY / "tests/tasks/code_review/schemas/sarif-schema-2.1.0.json").read_text())
BINARY = b"\x89PNG\r\n\0" + bytes(range(256))
FAULT = b"def find(cursor, name):\n    cursor.execute(f\"SELECT * FROM orders WHERE name = '{name}'\")\n"


pytestmark = pytest.mark.processes


class History:
    """A bare repository, and its commits by name."""

    def __init__(self, path: Path) -> None:
        self._git = pygit2.init_repository(str(path), bare=True)
        self._files: dict[str, bytes] = {}
        self.commits: dict[str, str] = {}

    def commit(self, name: str, files: Mapping[str, bytes | None], *parents: str, author: str = "Ann") -> None:
        """Commit changes of files (None: deleted), on top of the last commit or of the ones named."""
        changed = self._files | dict(files)
        self._files = {path: data for path, data in changed.items() if data is not None}
        builder = self._git.TreeBuilder()
        for path, data in self._files.items():
            builder.insert(path, self._git.create_blob(data), FileMode.BLOB)
        signature = pygit2.Signature(author, "a@example.org", 1_700_000_000 + len(self.commits), 60, "latin-1")
        tips = [self.commits[parent] for parent in parents] or list(self.commits.values())[-1:]
        tip = self._git.create_commit(
            None, signature, signature, name, builder.write(), [pygit2.Oid(hex=parent) for parent in tips]
        )
        self._git.references.create("refs/heads/master", tip, force=True)
        self.commits[name] = str(tip)

    @classmethod
    def of_all_kinds(cls, path: Path) -> History:
        """Commits of most kinds a repository may hold."""
        history = cls(path)
        commit = history.commit
        commit("begin", {"orders.py": code("orders", 90)})
        commit("add", {"stock.py": code("stock", 90), "poetry.lock": b"x\n"})
        commit("change", {"stock.py": code("stock", 90).replace(b"+ 7 ", b"+ 8 ")})
        commit("binary", {"logo.img": BINARY})
        commit("rename", {"orders.py": None, "sales.py": code("orders", 90).replace(b"+ 9 ", b"+ 10 ")})
        commit("fault", {"search.py": FAULT, "logo.img": BINARY + b"\0"})
        commit("nothing", {})
        commit("author", {"till.py": code("till", 90)}, author="J\xfcrgen")
        commit("windows", {"till.py": code("till", 90).replace(b"\n", b"\r\n")})
        commit("delete", {"stock.py": None})
        commit("aside", {"users.py": code("users", 90)}, "delete")
        commit("main", {"users.py": None, "mail.py": code("mail", 90)}, "delete")
        commit("merge", {"users.py": code("users", 90)}, "main", "aside")
        commit("last", {"mail.py": code("mail", 91), "search.py": b"# found below\n" + FAULT})
        return history


def code(name: str, functions: int) -> bytes:
    """A module that is large enough for several shards to come of a few commits."""
    return "".join(f"def {name}_{number}(x):\n    return x + {number} \n\n\n" for number in range(functions)).encode()


@pytest.fixture(scope="module")
def pipeline(shared_pipeline: PipelineCommand) -> PipelineCommand:
    return shared_pipeline


@pytest.fixture(scope="module")
def history(home: Path) -> History:
    return History.of_all_kinds(home / "shop.git")


@pytest.fixture(scope="module")
def job(home: Path, history: History) -> Path:
    known: list[dict[str, Any]] = [{"document_id": commit} for commit in history.commits.values()]
    known += [
        {"document_id": history.commits[name], "path": "search.py", "line": line, "category": "sql-injection"}
        for name, line in (("fault", 2), ("last", 3))
    ]
    (home / "faults.jsonl").write_text("".join(json.dumps(fault) + "\n" for fault in known))
    job = {
        "name": "history",
        "task": "code_review",
        "input": str(home / "shop.git"),
        "output": str(home / "results"),
        "model": "starter",
        "review": {"revisions": "master", "max_output_tokens": 64},
        "quality": {"raw_threshold": 1.0},  # Claude is asked about every item
        "escalation": {"model": "claude-haiku-5-5", "provider": "simulation", "simulated_error_rate": 0.0},
        "evaluation": {"faults_file": str(home / "faults.jsonl")},
        "compute": {"device_hour_usd": "0.10", "engines": 1},
    }
    (home / "job.yaml").write_text(yaml.safe_dump(job))
    return home / "job.yaml"


@pytest.fixture(scope="module")
def reviewed(pipeline: PipelineCommand, home: Path, job: Path) -> Any:
    """The outcome of a run that was killed with part of its predictions there."""
    root = home / "results" / "first"
    pipeline.run_and_kill("submit", job, "--run-id", "first", when=lambda: any((root / "predictions").glob("*.arrow")))
    scored = {path: path.stat().st_mtime_ns for path in (root / "predictions").iterdir()}
    assert scored  # on a busy machine it may be all of them
    outcome = pipeline.run_json("resume", "first")
    assert scored == {path: path.stat().st_mtime_ns for path in scored}, "nothing is reviewed twice"
    return outcome


def sarif_of(pipeline: PipelineCommand, *arguments: str) -> Any:
    done = pipeline.run("results", *arguments, "--sarif")
    assert done.returncode == 0, done.stderr
    log = json.loads(done.stdout)
    jsonschema.Draft4Validator(SARIF_SCHEMA).validate(log)
    return log["runs"][0]


def test_every_commit_is_reviewed_or_left_out_and_counted(reviewed: Any, history: History) -> None:
    rows = dataset.dataset(reviewed["summary"]["results"]).to_table().to_pylist()
    named = {commit: name for name, commit in history.commits.items()}
    verdicts = {named[row["document_id"]]: row["answer"] for row in rows}
    clean = ("begin", "add", "change", "rename", "author", "windows", "aside", "main")
    assert verdicts == dict.fromkeys(clean, "clean") | {"fault": "faulty", "last": "faulty"}
    assert len(rows) == len(verdicts)
    table = from_arrow((Path(reviewed["root"]) / "review" / "left-out.arrow").read_bytes())
    left_out = [
        (named[row["document_uri"].rpartition("@")[2]], row["path"], row["reason"]) for row in table.to_pylist()
    ]
    assert left_out == [
        ("merge", "", "merge"),
        ("delete", "", "no_code"),
        ("nothing", "", "no_code"),
        ("fault", "logo.img", "binary"),
        ("binary", "logo.img", "binary"),
        ("binary", "", "no_code"),
        ("add", "poetry.lock", "lock"),
    ]


def test_a_fault_of_two_commits_is_reported_once_where_it_stands_last(reviewed: Any, pipeline: PipelineCommand) -> None:
    (result,) = sarif_of(pipeline, "first")["results"]
    place = result["locations"][0]["physicalLocation"]
    found = (result["ruleId"], place["artifactLocation"]["uri"], place["region"]["startLine"])
    assert found == ("sql-injection", "search.py", 3)


@pytest.mark.prove
def test_the_same_history_again_has_nothing_new(reviewed: Any, pipeline: PipelineCommand, job: Path) -> None:
    pipeline.run_json("submit", job, "--run-id", "second")
    compared = sarif_of(pipeline, "second", "--baseline", "first")
    assert compared["results"] == []
    assert compared["properties"]["sluice/baseline"] == {"new": 0, "unchanged": 1, "absent": 0}
