"""How many shards an engine is given at a time; apart from the actor, so that asking does not import Ray."""

from __future__ import annotations

# A prompt of one token passes in one step: one shard is scored while the other is written and read.
SHARDS_IN_FLIGHT = 2
# An answer that is written takes a step for each token: in small shards, two hold too few answers to fill a step. More
# tokens than this at a time would drive each other's code out of the cache before its findings are verified.
WRITING_TOKENS_IN_FLIGHT, MAX_SHARDS_IN_FLIGHT = 65_536, 16
