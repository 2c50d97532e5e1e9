"""The reference of the job file as Markdown, made from its schema: the text of docs/job.md.

    python -m pipelines.job.job_reference > docs/job.md

In: the JSON Schema of `pipelines.job.job`. Out: a table for the whole file and for each section. No field is known
by its name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.job.job import Job

_HEAD = """\
# The job file

Every field, from the schema that checks it (`pipelines/job/job.schema.json`, which editors use to complete a job).
A file with mistakes is refused before anything runs, with every mistake and its line.

Made by `python -m pipelines.job.job_reference`; a test holds the two together.
"""

Schema = Mapping[str, Any]


def job_schema() -> str:
    """JSON Schema of the job file, for editors: the text of job.schema.json."""
    schema = Job.model_json_schema()
    schema["required"].remove("labels")
    schema |= {
        "if": {"properties": {"task": {"const": "classification"}}},
        "then": {"anyOf": [{"required": ["labels"]}, {"required": ["questions"]}]},
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def job_reference() -> str:
    """Write docs/job.md from the job's schema."""
    schema = json.loads(job_schema())
    sections = [_section("Fields of the file", schema), *_parts(schema)]
    return _HEAD + "".join(sections)


def _parts(schema: Schema) -> Iterator[str]:
    for name, part in sorted(schema["$defs"].items()):
        if "properties" in part:
            yield _section(f"`{name}`", part)


def _section(title: str, schema: Schema) -> str:
    required = schema.get("required", ())
    lines = [f"\n## {title}\n"]
    if "$defs" not in schema and "description" in schema:
        lines.append(_plain(schema["description"]) + "\n")
    lines += ["| field | value | default | what it is |", "|---|---|---|---|"]
    for name, field in schema["properties"].items():
        default = "required" if name in required else _default(field)
        cells = (f"`{name}`", _values(field), default, _cell(_plain(field.get("description", ""))))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _default(field: Schema) -> str:
    value = field.get("default")
    return "none" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def _values(field: Schema) -> str:
    """What may stand there, in words."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"see [`{name}`](#{name.lower()})"
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    for several in ("anyOf", "oneOf", "allOf"):
        if several in field:
            kinds = [_values(kind) for kind in field[several] if kind.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if field.get("type") == "array":
        return f"a list of {_values(field['items'])}" if "items" in field else "a list"
    if field.get("type") == "object":
        inner = field.get("additionalProperties")
        return f"names, each with {_values(inner)}" if isinstance(inner, dict) and inner else "names and values"
    return _cell(_words(field))


def _words(field: Schema) -> str:
    names = {"string": "text", "integer": "a whole number", "number": "a number", "boolean": "`true` or `false`"}
    limits = {
        "minimum": "at least {}",
        "exclusiveMinimum": "more than {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "less than {}",
        "maxLength": "at most {} characters",
    }
    told = [words.format(f"{field[name]:,}") for name, words in limits.items() if name in field]
    return ", ".join([names.get(str(field.get("type")), "anything"), *told])


def _plain(description: str) -> str:
    return " ".join(description.replace("``", "`").split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(job_reference(), end="")
