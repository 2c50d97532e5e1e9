"""The `pipeline` command as chaos runs start it: the product's own, but for two durations.

A message batch whose sending was cut off counts as not sent once Claude has not listed it for twelve minutes. The local
service lists a batch at once, and nobody wants to wait twelve minutes for each such seed. Nor for the listener, which
looks at a file again five seconds after its run was killed.
"""

import sys

from flows.cli import app
from flows.drop_folder import listener, starters
from workers.providers import claude

_SETTLE_SECONDS = 3.0
_RETRY_SECONDS = 0.5

claude.ClaudeBatches.__init__.__defaults__ = (_SETTLE_SECONDS,)
listener._FIRST_RETRY_SECONDS = _RETRY_SECONDS
# What a listener starts is this command, too.
starters._COMMAND = (sys.executable, "-m", "tests.chaos.command")  # type: ignore[assignment]  # other words than the product's

if __name__ == "__main__":
    app()
