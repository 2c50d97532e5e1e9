"""Run the demo: ``python -m infra.local.demo_s3``.

Exit codes: 0 it worked, 1 it did not; 130, 143 and 129 ended by Ctrl-C, SIGTERM and a closed terminal.
"""

import os
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import FrameType

import httpx2

from infra.local.demo_s3.demo import show
from infra.local.demo_s3.processes import DemoError, Interrupted
from infra.local.s3 import ToolError
from pipelines.errors import SluiceError


def main() -> int:
    """Show everything; the data is kept only if something has failed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="sluice-demo-"))
    try:
        show(folder)
    except (DemoError, ToolError, SluiceError, httpx2.HTTPError) as error:
        print(
            f"\nThe demo failed: {error}\nEverything is stopped; logs and data are kept in {folder}. "
            "If this machine is busy, run it again later: it starts anew",
            file=sys.stderr,
        )
        return 1
    except Interrupted as interrupted:
        shutil.rmtree(folder, ignore_errors=True)  # what was killed a moment ago may still have been writing
        with suppress(OSError):  # the terminal is gone
            print("\ninterrupted; everything is stopped", file=sys.stderr, flush=True)
        os._exit(128 + interrupted.number)  # what is left in a buffer for a terminal that is gone would be an error
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)


if __name__ == "__main__":
    sys.exit(main())
