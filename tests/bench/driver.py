"""Where the processor time of the command itself goes, by document: what is left to gain in the driver.

``python -m tests.bench.driver [--items N] [--out FOLDER]``. The documents and the engines are those of
`tests.bench.growth`: short, and answered at once. `pipeline submit` runs in a process of its own with a thread beside
it that looks, every 20 ms, at what each thread is doing and how much processor time the kernel has given it since: that
goes to the innermost of our functions on its stack, and to the library that it called. Threads that wait get none, so
that the figures hold on a busy machine. Threads that Python does not know (the tokenizer's, Ray's) go by their names.
A run of a twentieth of the documents is taken off, and with it what every run costs, whatever its size.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from rich.console import Console

from infra.local.engine import STAND_IN
from tests.bench.children import REPOSITORY, busy_cores, child_environment, run_logged
from tests.bench.growth import write_documents, write_job
from tests.bench.provenance import as_lines, markdown, provenance

_LOOK_SECONDS = 0.02
_SHOWN = 16
_TIMES_MORE = 20
_TOKENISES = "_encode_whole"  # whose library works in threads without names
_TIMEOUT_SECONDS = 3_600
_ROOMS = ("pipelines", "workers", "flows")

Spent = Counter[tuple[str, str]]  # nanoseconds, by our function and what it called


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=Path(".cache/bench"), help="for driver.md")
    arguments = parser.parse_args(words)
    arguments.out.mkdir(parents=True, exist_ok=True)
    facts = provenance(busy_cores())
    few = arguments.items // _TIMES_MORE
    spent, fixed = _measured(arguments.items), _measured(few)
    more = Counter({what: spent[what] - fixed[what] for what in spent.keys() | fixed.keys()})
    text = f"{_table(more, arguments.items - few)}\n\nBeside it, whatever the size: about "
    text += f"{max(fixed.total() - more.total() / (_TIMES_MORE - 1), 0) / 1e9:.1f} s. {as_lines(facts)}\n"
    (arguments.out / "driver.md").write_text(text, encoding="utf-8")
    Console(highlight=False, width=160, soft_wrap=True).print(text, markup=False)


def _measured(items: int) -> Spent:
    """One run of so many documents."""
    with tempfile.TemporaryDirectory(prefix="sluice-driver-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        write_documents(folder / "documents", items)
        job = write_job(folder / "job.yaml", folder / "documents", str(folder / "runs"), "off")
        command = [sys.executable, "-m", "tests.bench.driver", "inside", job, folder / "answer.json"]
        environment = child_environment(folder, {"PYTHONPATH": f"{STAND_IN}:{REPOSITORY}"})
        run_logged(command, folder / "log.txt", environment, _TIMEOUT_SECONDS)
        rows = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        return Counter({(where, what): nanoseconds for where, what, nanoseconds in rows})


def _table(spent: Spent, items: int) -> str:
    total = spent.total()
    cells = [
        [where, what, f"{nanoseconds / items / 1_000:.1f}", f"{nanoseconds / total:.1%}"]
        for (where, what), nanoseconds in spent.most_common(_SHOWN)
    ]
    rest = total - sum(nanoseconds for _, nanoseconds in spent.most_common(_SHOWN))
    cells.append(["all else", "", f"{rest / items / 1_000:.1f}", f"{rest / total:.1%}"])
    cells.append(["all", "", f"{total / items / 1_000:.1f}", f"{total / 1e9:.0f} s"])
    return markdown(["our function", "in", "microseconds a document", "share"], cells)


def _inside(job: str, answer: str) -> None:
    """The command, with somebody looking at its threads."""
    from flows.cli import app

    sampler = _Sampler()
    sampler.start()
    code = 0
    try:
        app(["submit", job, "--run-id", "driver"])
    except SystemExit as ended:
        code = int(ended.code or 0)
    sampler.stop()
    rows = [[where, what, nanoseconds] for (where, what), nanoseconds in sampler.spent.items()]
    Path(answer).write_text(json.dumps(rows), encoding="utf-8")
    if code:
        raise SystemExit(code)


class _Sampler(threading.Thread):
    """Looks at all threads of its process but itself."""

    def __init__(self) -> None:
        super().__init__(name="sampler", daemon=True)
        self.spent: Spent = Counter()
        self._is_first = True
        self._taken: dict[int, int] = {}  # nanoseconds that each thread had when it was last looked at
        self._is_over = threading.Event()

    def run(self) -> None:
        while not self._is_over.wait(_LOOK_SECONDS):
            self._look()

    def stop(self) -> None:
        self._is_over.set()
        self.join()
        self._look()

    def _look(self) -> None:
        frames, python = sys._current_frames(), {each.native_id: each for each in threading.enumerate()}
        is_tokenising = any(frame.f_code.co_name == _TOKENISES for frame in frames.values())
        beside = f"threads of libraries{', while texts are tokenised' if is_tokenising else ''}"
        for folder in Path("/proc/self/task").iterdir():
            thread = int(folder.name)
            if thread == self.native_id:
                continue
            with suppress(OSError, ValueError, IndexError):  # it has ended
                taken = int((folder / "schedstat").read_text(encoding="ascii").split()[0])
                since = taken - self._taken.get(thread, 0)
                self._taken[thread] = taken
                if not since or self._is_first:
                    continue
                known = python.get(thread)
                frame = frames.get(known.ident) if known and known.ident else None
                self.spent[_where(frame) if frame else (beside, _name(folder))] += since
        self._is_first = False


def _where(frame: FrameType) -> tuple[str, str]:
    """The innermost function of ours on the stack, and the library that it is in."""
    inner: FrameType | None = frame
    called = _module(frame)
    while inner is not None:
        name = _module(inner)
        if name.partition(".")[0] in _ROOMS:
            library = "" if name == called else called.partition(".")[0]
            return f"{name}.{inner.f_code.co_qualname}", library or "itself"
        inner = inner.f_back
    return "none of ours", called.partition(".")[0]


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "?"))


def _name(folder: Path) -> str:
    name = (folder / "comm").read_text(encoding="utf-8").strip()
    return name.rstrip("0123456789-_. #") or name


def _entry(words: Iterable[str]) -> None:
    match list(words):
        case ["inside", job, answer]:
            started = time.process_time()
            _inside(job, answer)
            print(f"{time.process_time() - started:.1f} s of processor time in all")
        case given:
            main(given)


if __name__ == "__main__":
    _entry(sys.argv[1:])
