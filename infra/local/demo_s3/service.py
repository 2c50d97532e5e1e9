"""Runs an installed command, and ends with the demo, even when that is killed with -9.

``python -m infra.local.demo_s3.service PARENT_PID COMMAND [ARGUMENT ...]``, as the leader of a process group: what the
command has started, such as a worker's runs, ends with it.
"""

import os
import signal
import sys
import threading
import time
from importlib.metadata import entry_points

_PARENT_CHECK_SECONDS = 0.5


def _end_with(parent_pid: int) -> None:
    """Watch the parent; an orphan gets another one."""
    while os.getppid() == parent_pid:
        time.sleep(_PARENT_CHECK_SECONDS)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    parent, name, *arguments = sys.argv[1:]
    threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
    (command,) = entry_points(group="console_scripts", name=name)
    sys.argv = [name, *arguments]
    sys.exit(command.load()())
