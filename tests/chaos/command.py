"""The `pipeline` command as chaos runs start it: the product's own, but for one duration.

A message batch whose sending was cut off counts as not sent once Claude has not listed it for twelve minutes. The local
service lists a batch at once, and nobody wants to wait twelve minutes for each such seed.
"""

import sys

from flows.cli import app
from flows.drop_folder import starters
from workers import claude

_SETTLE_SECONDS = 3.0

claude.ClaudeBatches.__init__.__defaults__ = (_SETTLE_SECONDS,)
# What a listener starts is this command, too.
starters._COMMAND = (sys.executable, "-m", "tests.chaos.command")  # type: ignore[assignment]  # one word more than the product's

if __name__ == "__main__":
    app()
