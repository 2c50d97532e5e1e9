"""The drop folder: files that arrive start runs, each version exactly one, however many listeners there are.

A listener hears of files through the bucket's SQS notifications, or by listing the folder again and again; in both
cases it lists once when it starts, for what came while nobody listened. Hearing of a file is only a hint: what is done
about it is decided by what the store holds (`flows.drop_folder.reception`), so a hint may come twice, late, or to two
listeners at once.
"""

from __future__ import annotations

import heapq
import math
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from flows.drop_folder.events import announced_objects
from flows.drop_folder.failures import describe
from flows.drop_folder.files import DroppedFile
from flows.drop_folder.inbox import Inbox
from flows.drop_folder.job_rules import JobFileOptions
from flows.drop_folder.jobs import JobFinder
from flows.drop_folder.queue import Message, Queue
from flows.drop_folder.reception import Reception
from flows.drop_folder.starters import RunStarter
from flows.drop_folder.stop import OrderlyStop
from pipelines.errors import JobError, ServiceError, SluiceError

DEFAULT_POLL_SECONDS = 10.0
_LONG_POLL_SECONDS = 20  # the most that SQS offers
_TRIES = 6  # as many as Prefect's watchdog gives a run
_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 5.0, 600.0

Say = Callable[[str], None]


def listen_to(
    location: str,
    default_job: Path,
    queue_url: str | None,
    poll_seconds: float | None,
    starter: RunStarter,
    say: Say,
    job_files: JobFileOptions | None = None,
) -> None:
    """Take files until SIGTERM or Ctrl-C; the file in hand is finished first.

    Args:
        location: local folder or ``s3://bucket/prefix``.
        default_job: for every file, or for those that have no job file of their own.
        queue_url: SQS queue of the bucket's notifications; without one, the folder is listed again and again.
        poll_seconds: time between listings.
        starter: who processes the runs.
        say: takes one line for each file.
        job_files: what job files in the folder may ask for; None: they are left alone.

    Raises:
        JobError: folder, queue or default job are wrong.
        ServiceError: store, queue or Prefect cannot be reached at the start; later on, that is waited out.
    """
    if queue_url and not location.startswith("s3://"):
        problem = f"--queue: '{location}' is a local folder, which announces nothing; leave --queue out"
        raise JobError([problem], "the command")
    if queue_url and poll_seconds is not None:
        raise JobError(["--poll-seconds: with --queue nothing is polled; leave one of them out"], "the command")
    inbox = Inbox(location)
    jobs = JobFinder(inbox, default_job, job_files)
    inbox.check()
    starter.check()
    queue = Queue(queue_url) if queue_url else None

    def stamped(line: str) -> None:
        say(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}")

    reception = Reception(inbox, jobs, starter, stamped)
    with OrderlyStop() as stop:  # before anything is said: who reads that it listens may stop it
        say(f"listening to {inbox.location} " + (f"through {queue.url}" if queue else "by listing it"))
        if queue and queue.tries is None:
            say("warning: the queue has no dead-letter queue, so a message that always fails comes back for ever")
        Listener(inbox, reception, queue, poll_seconds or DEFAULT_POLL_SECONDS, stamped).run(stop)
    say("stopped")


class Listener:
    """Hears of files and has them taken, one at a time."""

    def __init__(self, inbox: Inbox, reception: Reception, queue: Queue | None, poll_seconds: float, say: Say) -> None:
        self._inbox, self._reception, self._queue, self._say = inbox, reception, queue, say
        self._poll_seconds = poll_seconds
        self._next_listing_at = time.monotonic()
        self._failed_listings = 0
        self._started: set[str] | None = None  # listing ids, as the store told at the first listing
        self._heard_of: set[tuple[str, datetime]] = set()
        self._seen_last_time: set[str] = set()
        self._backlog = Backlog()

    def run(self, stop: OrderlyStop) -> None:
        """Listen until a stop is asked for; what fails outside is told, and tried again."""
        failures = 0
        while not stop.is_asked:
            try:
                self._list_if_due()
                self._take_one_of_backlog()
                self._hear(stop)
            except ServiceError as error:
                self._say(f"no announcements for now, will try again: {_one_line(error)}")
                stop.sleep(retry_seconds(failures))
                failures += 1
            else:
                failures = 0

    def _list_if_due(self) -> None:
        if time.monotonic() < self._next_listing_at:
            return
        try:
            news = self._news()
        except ServiceError as error:  # what is announced can be taken all the same
            self._say(f"cannot list the folder, will try again: {_one_line(error)}")
            self._next_listing_at = time.monotonic() + retry_seconds(self._failed_listings)
            self._failed_listings += 1
            return
        self._failed_listings = 0
        random.shuffle(news)  # listeners that start together do not run after one another
        for file in news:
            self._heard_of.add((file.listing_id, file.written_at))
            self._backlog.add(file.key)
        self._next_listing_at = float("inf") if self._queue else time.monotonic() + self._poll_seconds

    def _news(self) -> list[DroppedFile]:
        if self._started is None:
            self._started = set(self._inbox.started())
        news = [file for file in self._inbox.files() if self._is_news(file, self._started)]
        if self._inbox.is_local:  # files grow while they are copied: one is taken when two listings agree on it
            seen = {file.listing_id for file in news}
            news = [file for file in news if file.listing_id in self._seen_last_time]
            self._seen_last_time = seen
        return news

    def _is_news(self, file: DroppedFile, started: set[str]) -> bool:
        return file.listing_id not in started and (file.listing_id, file.written_at) not in self._heard_of

    def _take_one_of_backlog(self) -> None:
        key = self._backlog.pop_due()
        if key is None:
            return
        reason = self._failure_to_take(key)
        if reason is None:
            self._backlog.forget(key)
        elif self._backlog.is_hopeless(key):
            self._give_up(key, reason)
        else:
            self._backlog.put_off(key)

    def _give_up(self, key: str, reason: str) -> None:
        try:
            self._reception.give_up(key, f"tried {_TRIES} times while others were taken; the last time: {reason}")
        except ServiceError as error:
            self._say(f"not taken yet: {_one_line(error)}")
            self._backlog.put_off(key)
        else:
            self._backlog.forget(key)

    def _hear(self, stop: OrderlyStop) -> None:
        """Wait for the next message, file of the backlog or listing, whichever comes first."""
        seconds = max(min(self._backlog.due_at(), self._next_listing_at) - time.monotonic(), 0.0)
        if self._queue is None:
            stop.sleep(seconds)
            return
        queue, wait_seconds = self._queue, math.ceil(min(seconds, _LONG_POLL_SECONDS))
        message = stop.waiting(lambda: queue.receive(wait_seconds))
        if message:
            self._handle(queue, message)

    def _handle(self, queue: Queue, message: Message) -> None:
        """Delete a message once all it announces is done; otherwise leave it to come again."""
        with queue.hidden(message):
            try:
                announced = announced_objects(message.body)
            except ServiceError as error:
                self._say(f"message {message.id}: {error}")
                return
            ours = [place.key for place in announced if place.bucket == self._inbox.bucket]
            if len(ours) < len(announced):
                self._say(f"message {message.id}: announces another bucket; give each bucket a queue of its own")
            not_taken = [key for key in ours if self._inbox.is_input(key) and self._failure_to_take(key)]
        if len(ours) == len(announced) and not not_taken:
            queue.delete(message)

    def _failure_to_take(self, key: str) -> str | None:
        """Have a file taken or rejected; otherwise the reason why it is neither."""
        try:
            self._reception.take(key)
        except Exception as error:  # the edge: not even a report that cannot be written may end the listener
            reason = _one_line(error) if isinstance(error, SluiceError) else describe(error)
            self._say(f"not taken yet: {reason}")
            return reason
        return None


class Backlog:
    """Keys to take, each when it is due; what fails is put off, longer each time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._failures: dict[str, int] = {}
        self._done = 0
        self._done_before: dict[str, int] = {}  # how many others were done when a key failed for the first time

    def add(self, key: str) -> None:
        """Add a key that is to be taken now."""
        heapq.heappush(self._heap, (time.monotonic(), key))

    def put_off(self, key: str) -> None:
        """A key to take again later."""
        failures = self._failures.get(key, 0)
        self._done_before.setdefault(key, self._done)
        self._failures[key] = failures + 1
        heapq.heappush(self._heap, (time.monotonic() + retry_seconds(failures), key))

    def forget(self, key: str) -> None:
        """A key with which nothing is left to do."""
        self._done += 1
        self._failures.pop(key, None)
        self._done_before.pop(key, None)

    def is_hopeless(self, key: str) -> bool:
        """Whether another failure is the key's own: it has failed often, and others were done meanwhile."""
        return self._failures.get(key, 0) >= _TRIES - 1 and self._done > self._done_before[key]

    def pop_due(self) -> str | None:
        """A key whose time has come, if any."""
        return heapq.heappop(self._heap)[1] if self.due_at() <= time.monotonic() else None

    def due_at(self) -> float:
        """When the next key is due, on the monotonic clock."""
        return self._heap[0][0] if self._heap else float("inf")


def retry_seconds(failures: int) -> float:
    """How long to wait after so many failures in a row."""
    return min(_FIRST_RETRY_SECONDS * 2.0 ** min(failures, 10), _LAST_RETRY_SECONDS)


def _one_line(error: SluiceError) -> str:
    return " ".join(str(error).split())
