"""Reading a job file: every mistake at once, each with its line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipelines.errors import JobError
from pipelines.job import Job, ModelSource
from pipelines.store.regular_files import MAX_JOB_FILE_BYTES, read_regular


def load_job(path: str | Path, overrides: dict[str, Any] | None = None) -> Job:
    """Read and check a job file; ``overrides`` (dotted names) replace what the file says.

    Raises:
        JobError: with every problem found, each naming its line.
    """
    path = Path(path)
    try:
        text = read_regular(path, MAX_JOB_FILE_BYTES).decode()
    except FileNotFoundError:
        raise JobError([f"{path}: no such file; start from a file in sample_data/jobs/"]) from None
    except IsADirectoryError:
        raise JobError([f"{path}: is a folder; name the .yaml file in it"]) from None
    except OSError as error:
        raise JobError([f"{path}: cannot be read ({error.strerror}); name a job file"]) from None
    except UnicodeDecodeError as error:
        raise JobError([f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8"]) from None
    return parse_job(text, str(path), overrides)


def parse_job(text: str, source: str, overrides: dict[str, Any] | None = None) -> Job:
    """Check the text of a job file; ``source`` names it in messages.

    Raises:
        JobError: with every problem found, each naming its line.
    """
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise JobError([f"{source}{line}: not YAML: {getattr(error, 'problem', None) or 'unreadable'}"]) from None
    except (ValueError, RecursionError) as error:  # e.g. a date with a thirteenth month, or endless brackets
        raise JobError([f"{source}: not YAML: {error}"]) from None
    if not isinstance(content, dict):
        raise JobError([f"{source}: a mapping is expected (name: ..., task: ..., input: ...)"])
    for dotted, value in (overrides or {}).items():
        _override(content, dotted.split("."), value)
    assert tree is not None  # the content is a mapping, so the file has a root node
    problems = list(_repeated_names(tree))
    try:
        job = Job.model_validate(content)
    except ValidationError as error:
        problems += _describe(error, tree)
    if problems:
        raise JobError(problems, source=source)
    return job


def with_absolute_places(job: Job) -> Job:
    """The job as it reads from any folder: a worker or a listener goes on from elsewhere."""
    places: dict[str, Any] = {"input": _absolute(job.input), "output": _absolute(job.output)}
    if job.evaluation:
        given = job.evaluation.model_dump(include={"gold_file", "faults_file"}, exclude_none=True)
        moved = {name: _absolute(place) for name, place in given.items()}
        places["evaluation"] = job.evaluation.model_copy(update=moved)
    if isinstance(job.model, ModelSource) and Path(job.model.source).is_dir():
        places["model"] = job.model.model_copy(update={"source": _absolute(job.model.source)})
    return job.model_copy(update=places)


def _absolute(place: str) -> str:
    return place if "://" in place else os.path.abspath(os.path.expanduser(place))


def _override(content: dict[str, Any], names: list[str], value: object) -> None:
    *sections, last = names
    for section in sections:
        inner = content.get(section)
        if not isinstance(inner, dict):  # e.g. --provider on a job whose escalation is off: leave it off
            return
        content = inner
    content[last] = value


def _repeated_names(root: yaml.Node) -> Iterator[str]:
    """YAML keeps the last of two equal names and says nothing: the first would be ignored in silence."""
    open_nodes, seen = [root], {id(root)}  # an alias may lead back to a node above it
    while open_nodes:
        node = open_nodes.pop()
        if not isinstance(node, yaml.MappingNode):
            continue
        names: set[str] = set()
        for key, value in node.value:
            if key.value in names and key.tag != "tag:yaml.org,2002:merge":
                yield f"line {key.start_mark.line + 1}: {key.value}: is there twice; remove one"
            if isinstance(key, yaml.ScalarNode):
                names.add(key.value)
            if id(value) not in seen:
                seen.add(id(value))
                open_nodes.append(value)


def _describe(error: ValidationError, tree: yaml.Node) -> list[str]:
    """Every problem once, in the order of the file."""
    problems: list[tuple[int, str]] = []
    for detail in error.errors(include_url=False):
        # Union members add their own names to the location; users know only the file's.
        names = [str(part) for part in detail["loc"] if part not in ("str", "ModelSource", "~quality", "~off")]
        message = detail["msg"].removeprefix("Value error, ")
        line = _line_of(tree, names) if names else 0
        where = f"line {line}: " if names else ""
        problems.append((line, f"{where}{'.'.join(names) or 'job'}: {_plain(message, detail['type'])}"))
    return list(dict.fromkeys(problem for _, problem in sorted(problems, key=lambda found: found[0])))


def _plain(message: str, kind: str) -> str:
    if kind == "extra_forbidden":
        return "no such field; see pipelines/job.schema.json for the names"
    if kind == "missing":
        return "missing"
    return message[0].lower() + message[1:]


def _line_of(node: yaml.Node, names: list[str]) -> int:
    """Line of the deepest part of ``names`` that the file has."""
    line = node.start_mark.line + 1
    for name in names:
        if not isinstance(node, yaml.MappingNode):
            break
        pair = next(((key, value) for key, value in node.value if key.value == name), None)
        if pair is None:
            break
        line, node = pair[0].start_mark.line + 1, pair[1]
    return line
