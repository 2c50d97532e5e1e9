"""Asking Claude about doubtful items, in message batches: what is sent, what is journalled, what comes back.

Pure: the provider's client is passed in, the clock too. Which item is doubtful is decided in `pipelines.cascade`.
"""
