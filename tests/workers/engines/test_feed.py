"""Shards from planning to the engines: each once, in order, and none after one of the two sides has failed."""

import threading

from workers.engines.feed import ShardFeed


def test_each_shard_is_taken_once_and_in_order() -> None:
    feed = ShardFeed()
    assert (feed.take(), feed.may_bring_more) == ([], True)
    feed.put(0)
    feed.put(1)
    assert (feed.take(), feed.take()) == ([0, 1], [])
    feed.put(2)
    feed.finish()
    assert feed.may_bring_more
    assert (feed.take(), feed.may_bring_more) == ([2], False)


def test_a_whole_list_needs_nobody_to_finish_it() -> None:
    feed = ShardFeed.of(range(3))
    assert (feed.take(), feed.may_bring_more) == ([0, 1, 2], False)


def test_after_a_failure_of_either_side_nothing_more_is_begun() -> None:
    feed = ShardFeed([7])
    feed.cancel()
    assert feed.is_cancelled
    assert (feed.take(), feed.may_bring_more) == ([], False)


def test_who_waits_is_woken_by_a_shard_by_the_end_and_by_a_failure() -> None:
    for wake in (lambda feed: feed.put(1), ShardFeed.finish, ShardFeed.cancel):
        feed, woken = ShardFeed(), threading.Event()
        thread = threading.Thread(target=lambda feed=feed, woken=woken: (feed.wait(60), woken.set()))
        thread.start()
        wake(feed)
        assert woken.wait(30)
        thread.join()
