"""A signal ends the process at once with one line, whatever its main thread does, and nothing that it started stays."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import psutil
import pytest

from flows.console.interruption import WORDS

pytestmark = pytest.mark.processes

_BEGIN = (
    "import ctypes, os, signal, subprocess, sys, threading, time\nfrom flows.console.interruption import interruption\n"
)
_CHILD = "child = subprocess.Popen(['sh', '-c', 'sleep 600 & wait'], start_new_session=True)\n"
_READY = "print('ready', flush=True)\n"


def start(body: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _BEGIN + body], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def ended(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    return process.returncode, said


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=lambda value: str(value),
)
def test_all_that_was_started_ends_with_it(number: signal.Signals, code: int) -> None:
    process = start(
        f"interruption.install()\n{_CHILD}time.sleep(0.3)\n{_READY}threading.Lock().acquire() and time.sleep(99)"
    )
    started = psutil.Process(process.pid).children(recursive=True)
    assert len(started) == 2
    assert ended(process, number) == (code, f"{WORDS}\n")
    assert psutil.wait_procs(started, timeout=10)[1] == [] or all(
        each.status() == psutil.STATUS_ZOMBIE for each in started if each.is_running()
    )


def test_a_library_that_takes_the_signal_for_itself_does_not_keep_it() -> None:
    """As Prefect does in Python, and Ray below it."""
    body = (
        "interruption.install()\n"
        "signal.signal(signal.SIGTERM, lambda *_: time.sleep(99))\n"
        "ctypes.CDLL(None).signal(signal.SIGTERM, None)\n"
        f"time.sleep(1)\n{_READY}time.sleep(99)"
    )
    assert ended(start(body), signal.SIGTERM) == (143, f"{WORDS}\n")


def test_what_is_ignored_stays_ignored() -> None:
    process = start(
        f"signal.signal(signal.SIGHUP, signal.SIG_IGN)\ninterruption.install()\n{_READY}time.sleep(1)\nprint('done')"
    )
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=30) == ("done\n", "")


def test_an_output_that_takes_nothing_does_not_hold_it_up() -> None:
    body = f"interruption.install()\ninterruption.say_last = lambda words: time.sleep(99)\n{_READY}time.sleep(99)"
    process, asked_at = start(body), time.monotonic()
    assert ended(process, signal.SIGINT) == (130, "")
    assert time.monotonic() - asked_at < 20
