"""Every YAML file of the deployment: no duplicate keys, no surprising booleans, readable lines."""

from pathlib import Path

import pytest
from yamllint.config import YamlLintConfig
from yamllint.linter import run

from tests.infra.deployment_files import INFRA

RULES = YamlLintConfig(
    """
extends: default
rules:
  line-length: {max: 120}
  document-start: disable
  braces: {max-spaces-inside: 0}
  truthy: {check-keys: true}
"""
)


def findings(text: str) -> list[str]:
    return [f"{finding.line}: {finding.rule}" for finding in run(text, RULES)]


@pytest.mark.parametrize("path", sorted(INFRA.rglob("*.yaml")), ids=lambda path: path.relative_to(INFRA).as_posix())
def test_it_is_tidy(path: Path) -> None:
    assert findings(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("text", "finding"),
    [("a: 1\na: 2\n", "2: key-duplicates"), ("a: yes\n", "1: truthy"), ("a:\n   - 1\n  - 2\n", "3: None")],
)
def test_a_mistake_is_seen(text: str, finding: str) -> None:
    assert finding in findings(text)
