"""Run the demo: ``python -m infra.local.demo_s3``. Exit codes: 0 it worked, 1 it did not, 130 interrupted."""

import shutil
import signal
import sys
import tempfile
from pathlib import Path

import httpx2

from infra.local.demo_s3.demo import show
from infra.local.demo_s3.processes import DemoError
from infra.local.s3 import ToolError
from pipelines.errors import SluiceError


def main() -> int:
    """Show everything; the data is kept only if something has failed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: with all processes stopped
    folder = Path(tempfile.mkdtemp(prefix="sluice-demo-"))
    exit_code = 0
    try:
        show(folder)
    except (DemoError, ToolError, SluiceError, httpx2.HTTPError) as error:
        print(f"\nThe demo failed: {error}\nLogs and data are kept in {folder}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; everything is stopped", file=sys.stderr)
        exit_code = 130
    shutil.rmtree(folder, ignore_errors=True)  # what was killed a moment ago may still have been writing
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
