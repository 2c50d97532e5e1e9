"""A job file's YAML before anything is made of it: how much it is when written out, and what may stand in it.

An alias is a reference, so a few hundred bytes can stand for a billion values, which fill the memory of whoever copies
or writes down the job. So nodes are counted as they would be written out, before any of them becomes a value.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from pipelines.errors import JobError

_MAX_NODES = 10_000
_MAX_CHARACTERS = 1_000_000
_MAX_DEPTH = 40
_MAX_NUMBER_CHARACTERS = 100
_MAX_INTEGER = 2**63 - 1  # what tables and other programs hold

_TAG = "tag:yaml.org,2002:"
_PLAIN_TEXT, _INTEGER, _FLOAT = f"{_TAG}str", f"{_TAG}int", f"{_TAG}float"
_COLLECTIONS = {f"{_TAG}map", f"{_TAG}seq"}


class _Loader(yaml.SafeLoader):
    """Gives up early where there is too much: composing a megabyte of brackets takes a minute."""

    def __init__(self, text: str, source: str) -> None:
        super().__init__(text)
        self._source, self._depth, self._count = source, 0, 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        self._count += 1
        if self._depth > _MAX_DEPTH or self._count > _MAX_NODES:
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]  # PyYAML's stubs
            what = f"nested more than {_MAX_DEPTH} deep" if self._depth > _MAX_DEPTH else _too_many()
            raise JobError([f"{self._source}:{line}: {what}"])
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


def compose_job(text: str, source: str) -> yaml.Node | None:
    """The node tree of a job file whose values can be made, copied and written down; None for an empty file.

    Raises:
        JobError: it is too much, or holds values that no job has: with each of them.
        yaml.YAMLError: it is not YAML.
    """
    loader = _Loader(text, source)
    try:
        root: yaml.Node | None = loader.get_single_node()
        if root is None:
            return None
        nodes, characters = _written_out(root, {}, set(), source)
        if nodes > _MAX_NODES:
            raise JobError([f"{source}: {_too_many()}, once its aliases are written out"])
        if characters > _MAX_CHARACTERS:
            what = f"more than {_MAX_CHARACTERS:,} characters, once its aliases are written out"
            raise JobError([f"{source}: {what}; this is no job"])
        if problems := [f"line {node.start_mark.line + 1}: {what}" for node, what in _misfits(root, loader)]:
            raise JobError(problems, source)
    finally:
        loader.dispose()
    return root


def _too_many() -> str:
    return f"more than {_MAX_NODES:,} values; this is no job"


def _written_out(node: yaml.Node, known: dict[int, tuple[int, int]], above: set[int], source: str) -> tuple[int, int]:
    """How many nodes and characters a node stands for, each alias counted as what it names."""
    if id(node) in above:
        raise JobError([f"{source}:{node.start_mark.line + 1}: an alias stands inside what it names; write it out"])
    if id(node) not in known:
        above.add(id(node))
        nodes, characters = 1, len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        for child in _children(node):
            more_nodes, more_characters = _written_out(child, known, above, source)
            nodes, characters = nodes + more_nodes, characters + more_characters
        above.remove(id(node))
        known[id(node)] = nodes, characters
    return known[id(node)]


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _misfits(root: yaml.Node, loader: _Loader) -> Iterator[tuple[yaml.Node, str]]:
    """Every node that stands for something no job has, and what is wrong with it."""
    open_nodes, seen = [root], {id(root)}
    while open_nodes:
        node = open_nodes.pop()
        if problem := _problem_of(node, loader):
            yield node, problem
        for child in _children(node):
            if id(child) not in seen:
                seen.add(id(child))
                open_nodes.append(child)


def _problem_of(node: yaml.Node, loader: _Loader) -> str | None:
    if not isinstance(node, yaml.ScalarNode):
        return None if node.tag in _COLLECTIONS else _no_tags(node)
    if node.tag != _PLAIN_TEXT:
        # A tag of one's own makes a value of another kind, or fails in as many ways as there are kinds.
        resolved = loader.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]  # PyYAML's
        if node.style is not None or resolved != node.tag:
            return _no_tags(node)
        if node.tag in (_INTEGER, _FLOAT):
            return _problem_of_number(node, loader)
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in node.value):
        return "a zero or half a character, which cannot be written down; remove it"
    return None


def _problem_of_number(node: yaml.ScalarNode, loader: _Loader) -> str | None:
    if len(node.value) > _MAX_NUMBER_CHARACTERS:
        return f"a number of {len(node.value):,} characters; put it in quotes if it is text"
    if node.tag == _FLOAT:  # not a number and infinity are told with the field that they stand in
        return None
    if abs(loader.construct_yaml_int(node)) > _MAX_INTEGER:
        return f"a number over {_MAX_INTEGER:,}; put it in quotes if it is text"
    return None


def _no_tags(node: yaml.Node) -> str:
    return f"the tag {node.tag.removeprefix(_TAG)[:60]!r} is not known in a job; write the plain value"
