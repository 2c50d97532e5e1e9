"""Start the emulator: ``python -m infra.local.s3 --port 4566 --data DIR``. See README.md beside this file."""

import argparse
import signal
import sys
import threading
from pathlib import Path

from infra.local.s3.servers import Emulator
from infra.local.s3.tool_environments import ToolError


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.s3", description="S3, SQS, IAM and CloudFormation")
    parser.add_argument("--port", type=int, default=None, help="port on 127.0.0.1; a free one if left out")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the data; kept between runs")
    parser.add_argument("--auth", action="store_true", help="check signatures and IAM policies")
    arguments = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        with Emulator(arguments.data, port=arguments.port, auth=arguments.auth) as emulator:
            for name, value in emulator.client_variables().items():
                print(f"export {name}={value}", flush=True)
            ended.wait()
    except ToolError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
