"""A run of its user: started, and started again as often as its processes die, until it is complete."""

from __future__ import annotations

import json
import signal
from abc import ABC, abstractmethod
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Self

import psutil

from tests.chaos import documents
from tests.chaos.commands import start_command
from tests.chaos.plan import Start, Victim
from tests.chaos.world import World

_LAST_WORDS = 2_000
_MOST_SECONDS_TO_END = 60


class ChaosRun(ABC):
    """One run, in a bucket of its own."""

    def __init__(self, world: World, bucket: str) -> None:
        self.world, self.bucket = world, bucket
        self.folder = world.folder / bucket
        self.folder.mkdir()
        self.resumed_after: list[str] = []
        self.job = documents.write_job(self.folder / "job.yaml", bucket)
        self._log = self.folder / "commands.log"
        self._processes: list[BaseProcess] = []
        world.make_bucket(bucket)

    @abstractmethod
    def advance(self) -> bool:
        """See to it that what must run is running; True once the run is complete."""

    @abstractmethod
    def kill(self, victim: Victim) -> bool:
        """Kill one of the run's own processes; False if it is not there now."""

    @property
    @abstractmethod
    def root(self) -> str:
        """Key prefix of the run, once it is complete."""

    def last_words(self) -> str:
        """The end of what its commands have said."""
        return self._log.read_text(errors="replace")[-_LAST_WORDS:] if self._log.exists() else "(nothing was said)"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.join()
            process.close()

    def _note_end(self, process: BaseProcess) -> None:
        """Remember why something is started again: it was killed, or else what it said last."""
        was_killed = process.exitcode == -signal.SIGKILL
        said = "" if was_killed else self.last_words().strip().rpartition("\n")[2]
        self.resumed_after.append("SIGKILL" if was_killed else f"exit code {process.exitcode}: {said}")

    def _start(self, *arguments: str | Path) -> BaseProcess:
        process = start_command([str(argument) for argument in arguments], self.folder / "state", self._log)
        self._processes.append(process)
        return process


class SubmittedRun(ChaosRun):
    """`pipeline submit`, by a user who repeats the same command until it succeeds."""

    def __init__(self, world: World, bucket: str) -> None:
        super().__init__(world, bucket)
        for name, body in documents.files().items():
            world.put(bucket, f"in/{name}", body)
        self._process = self._submit()

    @property
    def root(self) -> str:
        return f"results/{self.bucket}"

    def advance(self) -> bool:
        if self._process.is_alive():
            return False
        if self._process.exitcode == 0:
            return True
        self._note_end(self._process)
        self._process = self._submit()
        return False

    def kill(self, victim: Victim) -> bool:
        return _kill(self._process)

    def _submit(self) -> BaseProcess:
        return self._start("submit", self.job, "--run-id", self.bucket)


class DroppedRun(ChaosRun):
    """A file dropped into a folder that `pipeline listen` watches; `pipeline collect` takes in Claude's answers."""

    def __init__(self, world: World, bucket: str) -> None:
        super().__init__(world, bucket)
        self._listener = self._listen()
        self._collector: BaseProcess | None = None
        self._children: set[psutil.Process] = set()
        self._root: str | None = None
        for name, body in documents.files(1).items():
            world.put(bucket, f"in/{name}", body)

    @property
    def root(self) -> str:
        assert self._root
        return self._root

    def advance(self) -> bool:
        if not self._listener.is_alive():
            self._note_end(self._listener)
            self._listener = self._listen()
        self._children |= set(_children(self._listener))
        if self._root is None:
            self._root = self._started()
        return self._root is not None and self._is_complete(self._root)

    def kill(self, victim: Victim) -> bool:
        if victim is Victim.LISTENER:
            return _kill(self._listener)
        if self._collector and self._collector.is_alive():
            return _kill(self._collector)
        children = _children(self._listener)
        for child in children:
            child.kill()
        return bool(children)

    def __exit__(self, *args: object) -> None:
        """Ask the listener to stop: it ends with the file in hand. Children of killed listeners have nothing left."""
        if self._listener.is_alive() and self._listener.pid:
            psutil.Process(self._listener.pid).send_signal(signal.SIGTERM)
            self._listener.join(_MOST_SECONDS_TO_END)
        for child in psutil.wait_procs(self._children, _MOST_SECONDS_TO_END)[1]:
            child.kill()
        super().__exit__(*args)

    def _is_complete(self, root: str) -> bool:
        if self._collector is None or not self._collector.is_alive():
            if self.world.keys(self.bucket, f"{root}/_COMPLETE"):
                return True
            if self._collector and self._collector.exitcode:
                self._note_end(self._collector)
            self._collector = self._start("collect")
        return False

    def _started(self) -> str | None:
        for key in self.world.keys(self.bucket, "status/_started/"):
            run: str = json.loads(self.world.get(self.bucket, key))["run"]
            return run.removeprefix(f"s3://{self.bucket}/")
        return None

    def _listen(self) -> BaseProcess:
        folder = f"s3://{self.bucket}/in"
        return self._start("listen", folder, "--job", self.job, "--poll-seconds", "0.5")


RUNS = {Start.SUBMIT: SubmittedRun, Start.DROP: DroppedRun}


def _children(process: BaseProcess) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return []


def _kill(process: BaseProcess) -> bool:
    if not process.is_alive():
        return False
    process.kill()
    process.join()
    return True
