"""Runs a tool's entry point and ends with the process that started it, even when that is killed with -9.

``python tool_process.py PARENT_PID MODULE:FUNCTION [ARGUMENT ...]``, by the tool's own interpreter: standard library
only, and nothing of the project.
"""

import os
import sys
import threading
import time
from importlib import import_module

PARENT_CHECK_SECONDS = 0.5


def end_with(parent_pid: int) -> None:
    """Watch the parent; an orphan gets another one."""
    while os.getppid() == parent_pid:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    parent, target, *arguments = sys.argv[1:]
    threading.Thread(target=end_with, args=(int(parent),), daemon=True).start()
    module, _, function = target.partition(":")
    sys.argv = [module, *arguments]
    sys.exit(getattr(import_module(module), function)())
