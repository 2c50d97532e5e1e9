"""Local stand-in for S3, SQS, IAM and CloudFormation, and a proxy that disturbs S3 on purpose.

In a test, take the fixture ``s3`` (a fresh bucket, AWS variables set; ``tests/s3_fixtures.py``), or start one yourself:

    with Emulator(tmp_path / "s3", auth=True) as emulator:
        environment = os.environ | emulator.client_variables()
        emulator.kill()
        emulator.start()  # the same endpoint, the same objects

By hand: ``python -m infra.local.s3 --port 4566 --data DIR`` prints the variables to set.
"""

from infra.local.s3.delaying_proxy import DelayingProxy, Request
from infra.local.s3.fault_proxy import FaultProxy, Faults
from infra.local.s3.servers import Emulator, MotoServer, ObjectServer, Server
from infra.local.s3.tool_environments import ToolError, tool_python

__all__ = [
    "DelayingProxy",
    "Emulator",
    "FaultProxy",
    "Faults",
    "MotoServer",
    "ObjectServer",
    "Request",
    "Server",
    "ToolError",
    "tool_python",
]
