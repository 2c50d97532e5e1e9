"""Reading a job file: every mistake at once, each with its line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from pipelines.errors import JobError
from pipelines.job.job import Job
from pipelines.job.job_tree import compose_job
from pipelines.job.question_jobs import asked_jobs
from pipelines.job.sections import Evaluation, ModelSource
from pipelines.meant import did_you_mean
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
        tree = compose_job(text, source)
        content = yaml.safe_load(text)  # as little as was counted
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise JobError([f"{source}{line}: not YAML: {getattr(error, 'problem', None) or 'unreadable'}"]) from None
    except (ValueError, OverflowError, RecursionError) as error:  # e.g. a date with a thirteenth month
        raise JobError([f"{source}: not YAML: {error}"]) from None
    if not isinstance(content, dict):
        raise JobError([f"{source}: a mapping is expected (name: ..., task: ..., input: ...)"])
    for dotted, value in (overrides or {}).items():
        _override(content, dotted.split("."), value)
        if dotted == "escalation.provider":  # of whichever question names its own: it was said who is asked
            for question in _sections(content.get("questions")):
                _override(question, dotted.split("."), value)
    assert tree is not None  # the content is a mapping, so the file has a root node
    problems = [*_repeated_names(tree), *_labels_that_are_no_text(tree)]
    try:
        job = Job.model_validate(content)
        asked_jobs(job)  # each of several questions is a job, and checked as one
    except ValidationError as error:
        problems += _describe(error, tree)
    except JobError as error:
        problems += [f"line {_locate(tree, _names_in(told))[0]}: {told}" for told in error.problems]
    if problems:
        raise JobError(problems, source=source)
    return job


def with_absolute_places(job: Job) -> Job:
    """The job as it reads from any folder: a worker or a listener goes on from elsewhere."""
    places: dict[str, Any] = {"input": _absolute(job.input), "output": _absolute(job.output)}
    if job.evaluation:
        places["evaluation"] = _with_absolute_files(job.evaluation)
    if job.questions:
        places["questions"] = {
            name: each.model_copy(update={"evaluation": each.evaluation and _with_absolute_files(each.evaluation)})
            for name, each in job.questions.items()
        }
    if isinstance(job.model, ModelSource):
        named = job.model.model_dump(include={"source", "adapter"}, exclude_none=True)
        moved = {name: _absolute(place) for name, place in named.items() if Path(place).is_dir()}
        places["model"] = job.model.model_copy(update=moved)
    return job.model_copy(update=places)


def _with_absolute_files(evaluation: Evaluation) -> Evaluation:
    given = evaluation.model_dump(include={"gold_file", "faults_file"}, exclude_none=True)
    return evaluation.model_copy(update={name: _absolute(place) for name, place in given.items()})


def _absolute(place: str) -> str:
    return place if "://" in place else os.path.abspath(os.path.expanduser(place))


def _override(content: dict[str, Any], names: list[str], value: object) -> None:
    *sections, last = names
    for section in sections:
        inner = content.get(section)
        if not isinstance(inner, dict):
            if section == "escalation":  # --provider on a job whose escalation is off: leave it off
                return
            # --adapter on a model of the catalogue: that model with it
            inner = content[section] = {"source": inner} if section == "model" and isinstance(inner, str) else {}
        content = inner
    content[last] = value


def _sections(questions: object) -> list[dict[str, Any]]:
    """Those of the questions that say whom they ask."""
    each = questions.values() if isinstance(questions, dict) else ()
    return [
        question for question in each if isinstance(question, dict) and isinstance(question.get("escalation"), dict)
    ]


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


# What YAML 1.1 makes of a word without quotes.
_READ_AS = {"bool": "a truth value", "int": "a number", "float": "a number", "timestamp": "a date", "null": "nothing"}


def _labels_that_are_no_text(root: yaml.Node) -> Iterator[str]:
    """Labels such as `yes`, `12` or `2024-05-01`: each with its line and the cure."""
    _, questions = _locate(root, ["questions"])
    names = [key.value for key, _ in questions.value] if isinstance(questions, yaml.MappingNode) else []
    for path in [["labels"], *(["questions", name, "labels"] for name in names)]:
        _, labels = _locate(root, path)
        for key, _ in labels.value if isinstance(labels, yaml.MappingNode) else ():
            if cure := _quotes(key):
                yield f"line {key.start_mark.line + 1}: {'.'.join(path)}: {cure}"


def _quotes(node: yaml.Node | None) -> str | None:
    """What to do about a word that YAML does not read as text; None for every other node."""
    read_as = _READ_AS.get(node.tag.rpartition(":")[2]) if isinstance(node, yaml.ScalarNode) else None
    if node is None or read_as is None:
        return None
    word = node.value or "an empty name"
    return (
        f"YAML reads {word} as {read_as}, not as text; put it in quotes: {json.dumps(node.value, ensure_ascii=False)}"
    )


_TAGS = ("~quality", "~escalation", "~off", "~name", "~source", "~endpoint", "~none", "~one", "~several")


def _describe(error: ValidationError, tree: yaml.Node) -> list[str]:
    """Every problem once, in the order of the file."""
    problems: list[tuple[int, str]] = []
    for detail in error.errors(include_url=False):
        if detail["loc"][-1:] == ("[key]",):  # told by `_labels_that_are_no_text`, with the line
            continue
        # Union members add their tags to the location; users know only the file's names.
        names = [str(part) for part in detail["loc"] if part not in _TAGS]
        message = detail["msg"].removeprefix("Value error, ")
        line, node = _locate(tree, names) if names else (0, None)
        where = f"line {line}: " if names else ""
        if detail["type"] == "extra_forbidden":
            problems.append((line, f"{where}{'.'.join(names)}: {_no_such_field(names)}"))
            continue
        plain = _quotes(node) if detail["type"] == "string_type" else None
        if detail["type"] == "literal_error":
            message += did_you_mean(str(detail["input"]), re.findall("'([^']*)'", detail["ctx"]["expected"]))
        if names[-1:] == ["labels"] and detail["type"] == "dict_type":
            plain = "one label a line with a colon is expected: `billing:`, or `billing: what it means`"
        problems.append((line, f"{where}{'.'.join(names) or 'job'}: {plain or _plain(message, detail['type'])}"))
    return list(dict.fromkeys(problem for _, problem in sorted(problems, key=lambda found: found[0])))


def _no_such_field(names: list[str]) -> str:
    """With the field of the same section that may be meant, or the section that has one of that name."""
    *above, name = names
    fields = _fields(Job)
    for section in above:
        inner = fields.get(section, {})
        fields = inner if inner or not section.isdecimal() else fields
    meant = did_you_mean(name, fields)
    if not meant:
        homes = [section for section, inner in _fields(Job).items() if name in inner]
        meant = f"; it is a field of `{homes[0]}`" if homes and not above else ""
    return f"no such field{meant}; see pipelines/job/job.schema.json for the names"


def _names_in(problem: str) -> list[str]:
    """The names of the file that a problem begins with: `questions`, `topic`, `quality`."""
    return problem.partition(":")[0].split(".")


def _fields(section: type[BaseModel]) -> dict[str, Any]:
    """The names of a section's fields, each with those below it."""
    return {field.alias or name: _fields_of(field.annotation) for name, field in section.model_fields.items()}


def _fields_of(annotation: Any) -> dict[str, Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _fields(annotation)
    below: dict[str, Any] = {}
    for part in get_args(annotation):
        below |= _fields_of(part)
    return below


def _plain(message: str, kind: str) -> str:
    if kind == "missing":
        return "missing"
    return message[0].lower() + message[1:]


def _locate(node: yaml.Node, names: list[str]) -> tuple[int, yaml.Node | None]:
    """Line of the deepest part of ``names`` that the file has; the node itself, if all of it is there."""
    line = node.start_mark.line + 1
    for name in names:
        if isinstance(node, yaml.SequenceNode) and name.isdecimal() and int(name) < len(node.value):
            node = node.value[int(name)]
            line = node.start_mark.line + 1
            continue
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        pair = next(((key, value) for key, value in pairs if key.value == name), None)
        if pair is None:
            return line, None
        line, node = pair[0].start_mark.line + 1, pair[1]
    return line, node
