"""A first tier over HTTP in the place of a pool of engines: takes shards from the same feed, commits the same parts.

It runs in the driver's own process: the work is another's, and waiting for it takes threads, no Ray.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from workers.endpoint.client import FirstTierClient
from workers.endpoint.scorer import OverHttpScorer
from workers.engines.feed import ShardFeed
from workers.engines.in_flight import SHARDS_IN_FLIGHT
from workers.engines.scorer import ShardReport

# How often to look whether planning has brought more.
_LOOK_SECONDS = 0.1


class EndpointPool:
    """One first tier for one run. Whoever makes one closes it."""

    def __init__(self, scorer: OverHttpScorer, client: FirstTierClient, in_words: str) -> None:
        self._scorer, self._client, self.in_words = scorer, client, in_words
        # While one shard is read or written, another's calls are under way.
        self._shards = ThreadPoolExecutor(SHARDS_IN_FLIGHT, thread_name_prefix="shards")

    def score(self, feed: ShardFeed, on_scored: Callable[[ShardReport], None], tell: Callable[[str], object]) -> None:
        """Have every shard scored and committed; if the feed is cancelled, none that was not begun.

        Args:
            feed: brings their numbers.
            on_scored: called for each as it is committed.
            tell: hears what a person is to know.

        Raises:
            EngineError: the first tier gives no answers.
        """
        self._scorer.tell = tell
        todo: deque[int] = deque()
        running: set[Future[ShardReport]] = set()
        while todo or running or feed.may_bring_more:
            if feed.is_cancelled:
                return
            todo.extend(feed.take())
            while todo and len(running) < SHARDS_IN_FLIGHT:
                running.add(self._shards.submit(self._scorer.score, todo.popleft()))
            if not running:
                feed.wait(_LOOK_SECONDS)
                continue
            ended, running = wait(running, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
            for shard in ended:
                on_scored(shard.result())

    def close(self) -> None:
        """Make no call any more; what was answered is kept."""
        self._scorer.close()
        self._shards.shutdown(wait=True, cancel_futures=True)
        self._client.close()
