"""A local stand-in of Anthropic's Message Batches API: a test instrument, no Claude involved.

Run it with ``python -m infra.local.message_batches``; ``README.md`` beside this file is its manual. The
HTTP side lives here, what pretends to be the model lives in ``simulated_model``. Nothing in this folder
knows the pipeline that talks to it.
"""
