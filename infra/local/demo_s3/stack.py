"""Creates a CloudFormation stack through the service's HTTP interface.

On AWS that is `aws cloudformation deploy`; here it saves installing the AWS command line. Requests are not signed: the
emulator does not ask for it.
"""

from __future__ import annotations

import time
from pathlib import Path
from xml.etree import ElementTree

import httpx2

from infra.local.demo_s3.processes import DemoError

_API_VERSION = "2010-05-15"
_NAMESPACE = {"cf": f"http://cloudformation.amazonaws.com/doc/{_API_VERSION}/"}
_CREATE_SECONDS = 300  # what a busy machine may need
_ANSWER_SECONDS = 120
_POLL_SECONDS = 0.2


def create_stack(endpoint: str, name: str, template: Path, parameters: dict[str, str]) -> dict[str, str]:
    """Create the stack and wait for it.

    Returns:
        The stack's outputs.

    Raises:
        DemoError: it cannot be created.
    """
    fields = {"TemplateBody": template.read_text(encoding="utf-8"), "Capabilities.member.1": "CAPABILITY_NAMED_IAM"}
    for number, (key, value) in enumerate(parameters.items(), start=1):
        fields[f"Parameters.member.{number}.ParameterKey"] = key
        fields[f"Parameters.member.{number}.ParameterValue"] = value
    _call(endpoint, "CreateStack", StackName=name, **fields)
    deadline = time.monotonic() + _CREATE_SECONDS
    while (status := _status(stack := _call(endpoint, "DescribeStacks", StackName=name))) != "CREATE_COMPLETE":
        if status != "CREATE_IN_PROGRESS" or time.monotonic() > deadline:
            reason = stack.findtext(".//cf:StackStatusReason", "", _NAMESPACE)
            raise DemoError(f"the stack '{name}' cannot be created: {status} {reason}")
        time.sleep(_POLL_SECONDS)
    outputs = stack.iterfind(".//cf:Outputs/cf:member", _NAMESPACE)
    return {
        output.findtext("cf:OutputKey", "", _NAMESPACE): output.findtext("cf:OutputValue", "", _NAMESPACE)
        for output in outputs
    }


def _status(stack: ElementTree.Element) -> str:
    return stack.findtext(".//cf:StackStatus", "", _NAMESPACE)


def _call(endpoint: str, action: str, **fields: str) -> ElementTree.Element:
    form = {"Action": action, "Version": _API_VERSION, **fields}
    try:
        answer = httpx2.post(endpoint, data=form, timeout=_ANSWER_SECONDS, trust_env=False)
    except httpx2.TransportError as error:
        raise DemoError(f"the local CloudFormation at {endpoint} did not answer {action}: {error}") from error
    if not answer.is_success:
        raise DemoError(f"CloudFormation refused {action}: {answer.text}")
    return ElementTree.fromstring(answer.content)  # noqa: S314  # written by our own emulator
