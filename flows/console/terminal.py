"""What a person, or a program with --json, sees of a command; everything else goes to a log file.

vLLM, Ray and Prefect write to the process's standard output and error, and so do their child processes. While a
command runs, both are pointed at the log; the console keeps a copy of the real one.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import time
import webbrowser
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.console.interruption import CLEAR_LINE, interruption
from flows.console.printable import printable, printable_json
from flows.console.progress import ProgressReporter
from flows.console.views.card import card_lines, further_lines
from flows.console.views.doctor import show_diagnosis
from flows.console.views.draft import show_drafted
from flows.console.views.errors import error_as_json
from flows.console.views.runs import show_runs
from flows.console.views.status import status_lines
from pipelines.errors import JobError, RunNotFoundError, SluiceError
from pipelines.report.first_costs import first_cost_usd
from pipelines.report.numbers import as_text
from pipelines.report.page import percent, usd
from pipelines.report.summary import Summary
from pipelines.results import ROUTES
from pipelines.routes import Route
from pipelines.settings import settings

if TYPE_CHECKING:  # importing these would make `pipeline status` load the SDK
    from flows.estimate import Estimates
    from flows.preflight.doctor import Diagnosis
    from flows.preflight.drafting import Drafted
    from flows.service.deploy import Deployed
    from flows.service.run_list import RunLine
    from flows.submit import SubmitOutcome
    from pipelines.status.record import RunStatus

_SHOWN_QUESTIONS = 5
_ENDING_SECONDS = 10.0  # longer than an interrupted command lives
# What a person types here: `make demo` runs the command from an environment that is not on the path.
COMMAND = "pipeline" if shutil.which("pipeline") else os.path.relpath(sys.argv[0])


class Terminal:
    """Screen of one command: what it prints, and how it ends; a context manager."""

    def __init__(self, *, as_json: bool, keep_output: bool = False) -> None:
        """Set up the console.

        Args:
            as_json: human lines go to standard error; standard output gets one JSON document.
            keep_output: nothing noisy will run: leave the process's output alone.
        """
        self._as_json = as_json
        self.log_path: Path | None = None
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        self._err = os.fdopen(os.dup(2), "w", encoding="utf-8")
        self.console = Console(file=os.fdopen(os.dup(2 if as_json else 1), "w", encoding="utf-8"), highlight=False)
        self.progress = ProgressReporter(self.console)
        interruption.say_last = self._say_last
        if not keep_output:
            self._redirect()

    def _redirect(self) -> None:
        folder = settings().state_dir / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        self.log_path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
        sys.stdout.flush()
        sys.stderr.flush()
        log = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
        self.progress.say(f"log       {self.log_path}")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Tell how it ended, and leave. Output stays with the log: Ray and Prefect print until the very end."""
        if interruption.is_ending:  # this is its consequence: an engine is gone, or the terminal
            time.sleep(_ENDING_SECONDS)
        try:
            if isinstance(error, BrokenPipeError):
                raise error
            self.console.file.flush()
            self._out.flush()
        except BrokenPipeError:  # `pipeline results RUN --json | head`: what is left in a buffer is for nobody
            os._exit(128 + signal.SIGPIPE)
        if error is None or isinstance(error, SystemExit | typer.Exit):
            return
        code = 2 if isinstance(error, JobError | RunNotFoundError) else 1
        if self._as_json:
            self._print_json(error_as_json(error, code))
            self._out.flush()
        if isinstance(error, SluiceError):
            self._complain(f"pipeline: {error}")
            raise SystemExit(code)
        logging.getLogger(__name__).error("unexpected", exc_info=error)
        where = f"; details are in {self.log_path}" if self.log_path else f": {error}"
        self._complain(f"pipeline: unexpected {type(error).__name__}{where}")
        raise SystemExit(1)

    def _say_last(self, words: str) -> None:
        """The last line of a command that is interrupted, where the bar was; nothing comes after it."""
        self.progress.give_up()
        if self._err.isatty():
            self._err.write(CLEAR_LINE)
        self._complain(words)

    def _complain(self, text: str) -> None:
        self._err.write(f"{printable(text)}\n")
        self._err.flush()

    def show_outcome(self, outcome: SubmitOutcome, is_verbose: bool = False) -> None:
        """How a submit ended; ``is_verbose`` for every cost, reason and word of what was promised."""
        if self._as_json:
            self._print_json(outcome.as_json())
            return
        if outcome.summary is None:
            self._say(f"sent      {outcome.run_id}: Claude is answering; nothing is held meanwhile")
            again = f"submit {outcome.job_path}" if outcome.job_path else f"resume {outcome.run_id}"
            self._say(f"next      {COMMAND} {again}   takes in the answers (same options as before)")
            return
        if outcome.was_complete:
            self._say(f"run {outcome.run_id} is complete already; --run-id NAME runs the job anew")
        self._show_card(outcome.summary, outcome.report or f"{COMMAND} report {outcome.run_id}   makes it")
        if is_verbose:
            self._show_costs(outcome.summary)
            for line in further_lines(outcome.summary):
                self._say(line)
        for note in outcome.notes:
            self._say(note)
        self._say(f"\nnext      {COMMAND} results {outcome.run_id}")
        self._say(f"          {COMMAND} cost {outcome.run_id}")
        questions = [each for each in outcome.summary.questions if each.routes[Route.REVIEW]]
        for each in questions[:_SHOWN_QUESTIONS]:
            left = each.routes[Route.REVIEW]
            self._say(f"          {COMMAND} review {each.run_id}   asks people about {left:,} left in review")
        if (held := outcome.summary.routes[Route.REVIEW].items) and not outcome.summary.questions:
            self._say(f"          {COMMAND} review {outcome.run_id}   asks people about {held:,} left in review")

    def show_drafted(self, drafted: Drafted) -> None:
        """Show where a first job file was written, and what to look at in it."""
        show_drafted(drafted, COMMAND, self._say)

    def show_diagnosis(self, diagnosis: Diagnosis) -> None:
        """Show whether a run could start on this machine."""
        if self._as_json:
            self._print_json(diagnosis.as_json())
            return
        show_diagnosis(diagnosis, self.console)

    def show_runs(self, runs: Sequence[RunLine]) -> None:
        """Show a list of runs, the newest first."""
        if self._as_json:
            self._print_json([run.as_json() for run in runs])
            return
        show_runs(runs, self.console)

    def show_nothing_new(self) -> None:
        """That there was nothing to submit; why was said already."""
        if self._as_json:
            self._print_json({"run_id": None, "root": None, "state": "nothing new", "summary": None})

    def show_deployed(self, deployed: Deployed) -> None:
        """What was registered, where to look, what to start."""
        if self._as_json:
            self._print_json(deployed.as_json())
            return
        for line in deployed.as_lines():
            self._say(line)

    def show_estimates(self, job_path: Path, estimates: Estimates) -> None:
        """Show what several targets would cost."""
        if self._as_json:
            self._print_json(estimates.as_json())
            return
        table = Table("target", "Claude is asked about", "share", "Claude USD")
        for each in estimates.by_target:
            share = each.asked / estimates.items if estimates.items else 0.0
            table.add_row(
                f"{each.promise.target:.10g}",
                f"{each.asked:,} items ({each.least:,} to {each.most:,})",
                percent(share),
                usd(estimates.cost_usd(each.asked)),
            )
        table.add_row("all", f"{estimates.items:,} items", "100.0%", usd(estimates.cost_usd(estimates.items)))
        self.console.print(table)
        if estimates.labelled:
            self._say(
                f"{estimates.labelled:,} of {estimates.items:,} items are answered and paid for "
                f"({usd(estimates.spent_usd)} USD); what they say of the others is uncertain, hence the range"
            )
        else:
            self._say("no item was asked: none is needed to learn from first; prices by the engine's count of tokens")
        self._say(f"next      {COMMAND} submit {job_path}   goes on with the same run (same options as before)")

    def show_bought(self, job_path: Path, run_id: str) -> None:
        """Show that the labels of an estimate are bought, and what comes next."""
        self._say(f"labels    of run {run_id} are bought; nothing is decided yet")
        self._say(f"next      {COMMAND} submit {job_path}   certifies, and asks what the target needs")

    def show_status(self, status: RunStatus) -> None:
        """Show how far a run has come."""
        if self._as_json:
            self._print_json(status.model_dump(mode="json"))
            return
        for line in status_lines(status):
            self._say(line)

    def show_document(self, content: str, warnings: list[str]) -> None:
        """Something for other programs, on standard output alone; as it is, unless a terminal shows it."""
        content = printable(content) if self._out.isatty() else content
        self._out.write(content if content.endswith("\n") else f"{content}\n")
        for warning in warnings:
            self._complain(f"warning   {warning}")

    def show_json(self, content: Any) -> None:
        """One document for programs."""
        self._print_json(content)

    def show_report(self, path: Path, is_opened: bool) -> None:
        """Where a report was written; with ``is_opened``, in the browser too."""
        self._say(f"report    {path}")
        if is_opened and not webbrowser.open(path.as_uri()):
            self._say("          this machine has no browser to show it in: copy the file to one that has")

    def show_cost(self, summary: Summary) -> None:
        """Show what a run cost, by route."""
        if self._as_json:
            self._print_json(summary.model_dump(mode="json"))
            return
        self._show_costs(summary)
        for warning in summary.warnings:
            self._say(f"warning   {warning}")

    def _show_card(self, summary: Summary, report: str) -> None:
        for line in card_lines(summary, report):
            if isinstance(line, Text):
                self.console.print(line, soft_wrap=True)
            else:
                self._say(line)

    def _show_costs(self, summary: Summary) -> None:
        first = f"{'first tier' if summary.first_tier else 'engine'} USD"
        table = Table("route", "items", first, "Claude USD", "total USD", title=None)
        for column in table.columns[1:]:
            column.justify = "right"
        for name in ROUTES:
            route = summary.routes[name]
            costs = (usd(cost) for cost in (first_cost_usd(route), route.api_cost_usd, route.cost_usd))
            table.add_row(name, f"{route.items:,}", *costs)
        totals = (usd(cost) for cost in (first_cost_usd(summary), summary.api_cost_usd, summary.cost_usd))
        table.add_section()
        table.add_row("all", f"{summary.items:,}", *totals)
        self.console.print(table)
        if summary.provider == "simulation":
            self._say("Claude's cost is what the simulated tokens would have cost at list price; nothing was billed")
        if summary.first_tier:
            self._say(f"asked     {summary.first_tier}, first; what it cost is in the rows, by the tokens it counted")
        else:
            is_one_of_several = summary.gpu_seconds and not summary.engine_held_seconds  # its run held the engines
            held = "as long as its run's were" if is_one_of_several else f"{summary.engine_held_seconds:,.1f}"
            self._say(
                f"engines   {summary.gpu_seconds:,.1f} device-seconds busy, in the rows; held for {held}, start-up and "
                "waiting included"
            )
        if summary.all_claude_cost_usd is not None:
            self._say(
                f"asked     Claude about {percent(summary.escalated_share)}; all items would come to about "
                f"{summary.all_claude_cost_usd:.6f} USD by what these cost on average"
            )

    def _say(self, text: str) -> None:
        self.progress.say(text)

    def _print_json(self, content: Any) -> None:
        self._out.write(printable_json(json.dumps(content, indent=2, default=as_text, ensure_ascii=False)) + "\n")
