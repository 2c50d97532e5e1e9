"""The demo, in the order in which things happen. Each step says what happens and the command for it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.compute as compute
import pyarrow.dataset as dataset

from infra.local.demo_s3.dropped_files import DroppedFile, default_job, files_to_drop
from infra.local.demo_s3.prefect_runs import FlowRun, PrefectServer
from infra.local.demo_s3.processes import DemoError, Processes
from infra.local.demo_s3.stack import create_stack
from infra.local.demo_s3.surroundings import stay_on_this_machine
from infra.local.s3 import Emulator
from infra.local.s3.servers import HOST, free_port
from pipelines.report.page import usd
from pipelines.store.objects import Store

_TEMPLATE = Path(__file__).resolve().parents[2] / "aws" / "sluice.yaml"
_BUCKETS = {"InputBucketName": "acme-inbox", "ResultsBucketName": "acme-results"}
_DROP_PREFIX = "inbox"  # the template's default
_JOB_FILE = "my_job.yaml"
_WORK_POOL = "sluice"  # the default of `pipeline deploy`
_START_SECONDS, _RECEIPT_SECONDS, _RUN_SECONDS = 600, 600, 1_800  # what a busy machine may need
_SHOWN_ROWS = 3
_SHOWN_COLUMNS = ["document_id", "answer", "route", "raw_prob", "cost_usd"]

_say = partial(print, flush=True)


@dataclass(frozen=True)
class Receipt:
    """What the listener left for a file that it has taken."""

    file: DroppedFile
    run_id: str
    run: str
    page: str


def show(folder: Path) -> None:
    """Do everything, then stop everything.

    Args:
        folder: takes all data and logs.

    Raises:
        DemoError: something is not as promised.
        ToolError: the emulator cannot be installed or started.
    """
    _say(f"Data and logs are in {folder} until the end. Lines with $ are what you would type.")
    _say("Claude is a local SIMULATION that answers from the known labels; nothing is billed.")
    with Emulator(folder / "s3") as emulator, Processes(folder) as processes:
        api = f"http://{HOST}:{free_port()}/api"
        stay_on_this_machine(folder, api, emulator.client_variables())
        outputs = _create_buckets_and_queue(emulator)
        prefect = _start_prefect(processes, api)
        _deploy(processes, folder, outputs)
        _start_listening(processes, prefect, outputs)
        inbox = Store(f"s3://{_BUCKETS['InputBucketName']}")
        files = files_to_drop(outputs["InputUri"], f"{outputs['ResultsUri']}tickets/helpdesk/")
        _drop(inbox, files, outputs["InputUri"])
        receipts = _show_receipts(processes, inbox, files)
        _step("Prefect has the runs, one after the other: each takes every engine that there is.")
        for receipt in receipts:
            _watch_run(processes, prefect, receipt)
        for receipt in receipts:
            _show_rows(receipt)
    _step("All processes are stopped.")


def _step(what: str, *commands: str) -> None:
    _say(f"\n{what}")
    for command in commands:
        _say(f"  $ {command}")


def _create_buckets_and_queue(emulator: Emulator) -> dict[str, str]:
    _step(
        f"S3, SQS, IAM and CloudFormation are up at {emulator.endpoint}, on this machine.",
        f"python -m infra.local.s3 --data {emulator.folder}",
    )
    outputs = create_stack(emulator.endpoint, "sluice", _TEMPLATE, _BUCKETS)
    overrides = " ".join(f"{name}={value}" for name, value in _BUCKETS.items())
    _step(
        "Two buckets, a queue for announcements, a dead-letter queue and the roles are made from one template.",
        "aws cloudformation deploy --stack-name sluice --template-file infra/aws/sluice.yaml "
        f"--capabilities CAPABILITY_NAMED_IAM --parameter-overrides {overrides}",
    )
    _say(f"  watched  {outputs['InputUri']}\n  queue    {outputs['QueueUrl']}\n  results  {outputs['ResultsUri']}")
    return outputs


def _start_prefect(processes: Processes, api: str) -> PrefectServer:
    command = ["prefect", "server", "start", "--host", HOST, "--port", str(urlsplit(api).port)]
    processes.start("prefect-server", command)
    prefect = PrefectServer(api)
    processes.wait_for("Prefect's server", lambda: prefect.is_up() or None, _START_SECONDS)
    page = api.removesuffix("/api")
    _step(f"Prefect's server is up; while this runs, look at {page}", " ".join(command))
    return prefect


def _deploy(processes: Processes, folder: Path, outputs: dict[str, str]) -> None:
    (folder / _JOB_FILE).write_text(default_job(outputs["InputUri"], f"{outputs['ResultsUri']}tickets/"), "utf-8")
    command = ["pipeline", "deploy", _JOB_FILE, "--watch", outputs["InputUri"]]
    processes.run(command)
    _step("Prefect is told how to process a run, and how to start again one that dies.", " ".join(command))


def _start_listening(processes: Processes, prefect: PrefectServer, outputs: dict[str, str]) -> None:
    worker = ["prefect", "worker", "start", "--pool", _WORK_POOL]
    source = [outputs["InputUri"], "--job", _JOB_FILE, "--queue", outputs["QueueUrl"]]
    listener = ["pipeline", "listen", *source, "--prefect", "--job-files"]
    processes.start("worker", worker)
    processes.start("listener", listener)
    processes.wait_for("the worker", lambda: prefect.has_worker(_WORK_POOL) or None, _START_SECONDS)
    processes.wait_for("the listener", lambda: "listening to" in processes.said("listener") or None, _START_SECONDS)
    _step("A worker waits for runs, and a listener for files.", " ".join(worker), " ".join(listener))


def _drop(inbox: Store, files: Iterable[DroppedFile], input_uri: str) -> None:
    commands = []
    for file in files:
        parts = {file.name: file.content}
        if file.job:  # first: it is looked up when the file is taken
            parts = {f"{file.name}.job.yaml": file.job.encode()} | parts
        for name, content in parts.items():
            inbox.create(f"{_DROP_PREFIX}/{name}", content)
            commands.append(f"aws s3 cp {name} {input_uri}")
    _step(
        "Files are dropped: two of tickets, one of them with a job of its own, and one that cannot be read.", *commands
    )


def _show_receipts(processes: Processes, inbox: Store, files: Iterable[DroppedFile]) -> list[Receipt]:
    _step("Each file has its answer in the bucket: the way to its run, or what is wrong with it.")
    receipts = []
    for file in files:
        key, answer = processes.wait_for(f"an answer to {file.name}", partial(_answer, inbox, file), _RECEIPT_SECONDS)
        _say(f"  $ aws s3 cp {inbox.uri(key)} -")
        if ("problems" in answer) is not (file.documents is None):
            raise DemoError(f"this is not the answer that {file.name} should have: {json.dumps(answer)}")
        if file.documents is None:
            _say(f"    {'; '.join(answer['problems'])}")
        else:
            _say(f"    run {answer['run']}")
            receipts.append(Receipt(file, answer["run_id"], answer["run"], answer["page"]))
    return receipts


def _answer(inbox: Store, file: DroppedFile) -> tuple[str, dict[str, Any]] | None:
    for key in (f"status/{_DROP_PREFIX}/{file.name}.json", f"rejected/{_DROP_PREFIX}/{file.name}.rejected.json"):
        if found := inbox.read_if_exists(key):
            return key, json.loads(found)
    return None


def _watch_run(processes: Processes, prefect: PrefectServer, receipt: Receipt) -> None:
    _say(f"  {receipt.run_id}\n    {receipt.page}\n   ", end="")
    shown = ""

    def ended() -> FlowRun | None:
        nonlocal shown
        flow_run = prefect.flow_run(receipt.page)
        if flow_run is None:
            return None
        if flow_run.state != shown:
            shown = flow_run.state
            _say(f" {shown}", end="")
        return flow_run if flow_run.is_final else None

    flow_run = processes.wait_for(f"the end of {receipt.run_id}", ended, _RUN_SECONDS, is_shown=True)
    _say(f" after {flow_run.seconds:.0f} s")
    if flow_run.state != "Completed":
        raise DemoError(f"{receipt.run_id} ended as {flow_run.state}; its worker said:\n{processes.said('worker')}")


def _show_rows(receipt: Receipt) -> None:
    place = f"{receipt.run}/results"
    code = f"import pyarrow.dataset as d; print(d.dataset('{place}').to_table())"
    _step(f"The rows of {receipt.file.name}, read from S3 with pyarrow:", f'python -c "{code}"')
    rows = dataset.dataset(place).to_table()
    routes = Counter(rows["route"].to_pylist())
    counts = ", ".join(f"{count} {route}" for route, count in sorted(routes.items()))
    _say(f"  {rows.num_rows} rows: {counts}; cost {usd(compute.sum(rows['cost_usd']).as_py())} USD")
    _say("  " + _line(_SHOWN_COLUMNS))
    for row in rows.select(_SHOWN_COLUMNS).slice(0, _SHOWN_ROWS).to_pylist():
        _say("  " + _line(row.values()))
    distinct = len(set(rows["item_id"].to_pylist()))
    if (rows.num_rows, distinct) != (receipt.file.documents, receipt.file.documents):
        raise DemoError(
            f"{place} has {rows.num_rows} rows of {distinct} documents; {receipt.file.documents} were dropped"
        )


def _line(values: Iterable[object]) -> str:
    return "".join(f"{_cell(value):16}" for value in values).rstrip()


def _cell(value: object) -> str:
    match value:
        case Decimal():
            return usd(value)
        case float():
            return f"{value:.3f}"
        case _:
            return "-" if value is None else str(value)
