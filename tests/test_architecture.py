"""Who may import whom, who reads the environment, and how long a module may be: design.md §7, held."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ROOMS = ("pipelines", "workers", "flows", "infra")
MAX_MODULE_LINES = 400

# What each room may not import, at the top or within a function.
FORBIDDEN = {
    "pipelines": {"workers", "flows", "infra", "ray", "prefect", "vllm", "anthropic", "boto3", "botocore"},
    "workers": {"flows", "infra", "prefect"},
    "flows": {"infra", "ray", "vllm", "anthropic"},
    "infra": {"workers", "flows", "ray", "prefect", "vllm", "anthropic", "boto3", "botocore"},
}
# obstore, the way to S3 there, gives nothing of a listing that holds a key which it does not take.
EXCEPTIONS = {"pipelines/store/s3_any_name.py": {"boto3", "botocore"}}
# Each of these is touched in these modules alone.
ONLY_IMPORTER = {
    "vllm": {"workers/engines/engine.py"},
    "anthropic": {"workers/providers/claude.py"},
    "peft": {"workers/adapting/training.py"},
    "boto3": {"workers/providers/bedrock_account.py", "flows/drop_folder/queue.py", *EXCEPTIONS},
    "botocore": {"workers/providers/bedrock_account.py", "flows/drop_folder/queue.py", *EXCEPTIONS},
}
# The second stands in for vLLM, which nothing but its environment reaches.
ENVIRONMENT_READERS = {"pipelines/settings.py", "infra/local/engine/site/vllm/__init__.py"}
HEAVY = {"ray", "prefect", "vllm", "torch", "anthropic", "boto3", "transformers", "peft", "pyarrow"}


@cache
def modules(room: str) -> list[Path]:
    return sorted((REPOSITORY / room).rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def imports(path: Path) -> Iterator[str]:
    """Top-level packages that a module imports anywhere, for types too."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: relative import"
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (str(arg.value).partition(".")[0] for arg in node.args if isinstance(arg, ast.Constant))


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room: str) -> None:
    assert modules(room)
    wrong = {
        name: (set(imports(path)) & FORBIDDEN[room]) - EXCEPTIONS.get(name, set())
        for path in modules(room)
        if (name := name_of(path))
    }
    assert {path: names for path, names in wrong.items() if names} == {}


@pytest.mark.parametrize("package", ONLY_IMPORTER)
def test_engine_and_client_are_touched_in_one_module_each(package: str) -> None:
    importers = {name_of(path) for room in ROOMS for path in modules(room) if package in imports(path)}
    assert importers == ONLY_IMPORTER[package]


def environment_reads(tree: ast.Module) -> Iterator[int]:
    """Lines that use os.environ or os.getenv for anything but setting a variable."""
    writes = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=target, attr="setdefault" | "update" | "pop"):
                writes.add(id(target))
            case ast.Subscript(value=target, ctx=ast.Store() | ast.Del()):
                writes.add(id(target))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv", "os.environb"):
            if id(node) not in writes:
                yield node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from (node.lineno for alias in node.names if alias.name in ("environ", "getenv"))


def test_only_the_settings_read_the_environment() -> None:
    readers = [
        f"{name_of(path)}:{line}"
        for room in ROOMS
        for path in modules(room)
        if name_of(path) not in ENVIRONMENT_READERS
        for line in environment_reads(parsed(path))
    ]
    assert readers == []


@pytest.mark.parametrize(
    ("code", "is_read"),
    [
        ("import os; os.environ['A'] = '1'", False),
        ("import os; os.environ.setdefault('A', '1')", False),
        ("import os; os.environ.update({})", False),
        ("import os; os.environ['A']", True),
        ("import os; os.environ.get('A')", True),
        ("import os; os.getenv('A')", True),
        ("import os; print(dict(os.environ))", True),
        ("from os import environ", True),
    ],
)
def test_the_check_itself_tells_reading_from_writing(code: str, is_read: bool) -> None:
    assert bool(list(environment_reads(ast.parse(code)))) is is_read


def rooms_of_flows() -> dict[str, set[str]]:
    """What each module or folder directly below flows/ imports of the others, at the top or within a function."""
    found: dict[str, set[str]] = {}
    for path in modules("flows"):
        room = path.relative_to(REPOSITORY / "flows").parts[0].removesuffix(".py")
        types = {id(inner) for node in ast.walk(parsed(path)) if is_for_types(node) for inner in ast.walk(node)}
        nodes = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.ImportFrom) and id(node) not in types]
        named = [node.module if node.module != "flows" else f"flows.{node.names[0].name}" for node in nodes]
        others = {name.split(".")[1] for name in named if name and name.startswith("flows.")}
        found.setdefault(room, set()).update(others - {room})
    return found


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def test_flows_is_a_house_of_few_rooms_and_floors_without_a_way_round() -> None:
    rooms = rooms_of_flows()
    floors: dict[str, int] = {}
    for room in TopologicalSorter(rooms).static_order():  # raises CycleError
        floors[room] = 1 + max((floors[below] for below in rooms.get(room, ())), default=0)
    assert len(floors) <= 21 and max(floors.values()) <= 10, floors  # __init__ is one of them


@pytest.mark.parametrize("room", ROOMS)
def test_whoever_has_arrow_read_or_count_says_whether_in_threads(room: str) -> None:
    """See `USE_THREADS` in `pipelines.store.schemas`."""
    ends = (".group_by", ".iter_batches", ".read_table", ".IpcReadOptions", ".IpcWriteOptions")
    unsaid = [
        f"{name_of(path)}:{node.lineno}"
        for path in modules(room)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(ends)
        if "use_threads" not in {keyword.arg for keyword in node.keywords}
    ]
    assert unsaid == []


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    lengths = {
        name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for room in ROOMS for path in modules(room)
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_MODULE_LINES} == {}


HELP = """
import sys
from flows.cli import app
try:
    app(["--help"])
except SystemExit as ended:
    assert not ended.code
print("IMPORTED", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_help_answers_at_once() -> None:
    ran = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    *shown, imported = ran.stdout.splitlines()
    assert any("submit" in line for line in shown)
    assert imported.startswith("IMPORTED ")
    assert HEAVY & set(imported.split()) == set()
