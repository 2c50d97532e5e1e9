"""The calls as plain functions of a request, free of sockets: what is answered, and what goes wrong when it is to.

Strict: a field that the shape's server does not know, or would leave out in silence, is refused. What was processed is
counted by text, so that a test can see that nothing was paid twice, and nothing sent that was to be withheld.
"""

import hashlib
import json
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from infra.local.first_tier.answers import MASS, label_shares, likeliest_tokens

Shape = Literal["ollama", "openai", "systemone", "systemone-shares"]
SHAPES: tuple[Shape, ...] = ("ollama", "openai", "systemone", "systemone-shares")
FaultKind = Literal["status", "no_logprobs", "round", "no_code", "no_usage", "break", "other_model", "slow", "nonsense"]

MODEL = "stand-in"
_PATHS: Mapping[Shape, str] = {
    "ollama": "/api/chat",
    "openai": "/v1/chat/completions",
    "systemone": "/v1/systemone",
    "systemone-shares": "/v1/systemone",
}
_FIELDS: Mapping[str, set[str]] = {
    "/api/chat": {
        *("model", "messages", "stream", "think", "logprobs", "top_logprobs", "truncate", "shift", "options"),
    },
    "/v1/chat/completions": {"model", "messages", "max_tokens", "temperature", "logprobs", "top_logprobs"},
    "/v1/systemone": {"model", "state", "questions", "instructions"},
}
_DOCUMENT = re.compile(r"<document>\n(.*)\n</document>", re.DOTALL)
_CODE = re.compile(r"^([A-Z]{1,2})\. ", re.MULTILINE)
_MOST_TOP = 20
_CHARS_PER_TOKEN = 4


@dataclass
class Fault:
    """What goes wrong, how many times (always, without a number), and with which texts (all, without a part of one)."""

    kind: FaultKind
    status: int = 500
    retry_after: str | None = None
    times: int | None = None
    text_contains: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Reply:
    """What is answered; ``is_broken``: nothing is, though the work was done."""

    status: int
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)
    is_broken: bool = False


class Refused(Exception):
    """The request is not taken."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class FirstTierService:
    """Everything that a running stand-in holds; used by several threads."""

    def __init__(
        self, shape: Shape, *, key: str | None = None, context_tokens: int = 4_096, top_tokens: int = _MOST_TOP
    ) -> None:
        self.shape, self._key, self._context_tokens, self._top_tokens = shape, key, context_tokens, top_tokens
        self.faults: list[Fault] = []
        self.processed: Counter[str] = Counter()  # by the text's sha256
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self.sleep: Callable[[float], None] = time.sleep

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """One request."""
        if path.startswith("/control"):
            return self._control(method, path, body)
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return self._answer(method, path, headers, body)
        except Refused as refused:
            return json_reply(refused.status, {"error": {"message": str(refused), "type": "invalid_request_error"}})
        finally:
            with self._lock:
                self._at_once -= 1

    def was_processed(self, text: str) -> int:
        """How often a text was."""
        return self.processed[_sha256(text)]

    def _answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        if self._key and headers.get("authorization") != f"Bearer {self._key}":
            raise Refused(401, "Incorrect API key provided")
        if method == "GET":
            return self._about(path)
        try:
            asked = json.loads(body)
        except ValueError:
            raise Refused(400, "the body is no JSON") from None
        if not isinstance(asked, dict):
            raise Refused(400, "the body is no object")
        return self._asked(path, asked)

    def _asked(self, path: str, asked: Mapping[str, Any]) -> Reply:
        """Answer a request that is a JSON object."""
        if path != _PATHS[self.shape]:
            raise Refused(404, f"no route {path}")
        text, codes = self._check(path, asked)
        fault = self._take_fault(text)
        if fault and (reply := self._faulty(fault)):
            return reply
        self._processed(text)
        if fault and fault.kind == "break":
            return Reply(200, b"", is_broken=True)
        if fault and fault.kind == "nonsense":
            return Reply(200, b"<html>It works!</html>")
        content = self._content(asked, text, codes, fault.kind if fault else None)
        if fault and fault.kind == "other_model":
            content["model"] = "another-model"
        return json_reply(200, content)

    def _faulty(self, fault: Fault) -> Reply | None:
        """What goes wrong before anything is processed."""
        if fault.kind == "status":
            retry = {"retry-after": fault.retry_after} if fault.retry_after is not None else {}
            refused = json_reply(fault.status, {"error": {"message": "a fault that was asked for"}})
            return Reply(refused.status, refused.content, retry)
        if fault.kind == "slow":
            self.sleep(fault.seconds)
        return None

    def _processed(self, text: str) -> None:
        with self._lock:
            self.processed[_sha256(text)] += 1

    def _about(self, path: str) -> Reply:
        if path == "/v1/models" and self.shape != "systemone-shares":
            return json_reply(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        if self.shape == "ollama" and path == "/api/version":
            return json_reply(200, {"version": "0.12.11"})
        if self.shape == "ollama" and path == "/api/tags":
            return json_reply(200, {"models": [{"name": f"{MODEL}:latest", "digest": "sha256:57a1d11"}]})
        raise Refused(404, f"no route {path}")

    def _check(self, path: str, asked: Mapping[str, Any]) -> tuple[str, list[str]]:
        """The document, and the labels' codes or names."""
        if strange := sorted(asked.keys() - _FIELDS[path]):
            raise Refused(400, f"Unrecognized request argument supplied: {', '.join(strange)}")
        if asked.get("model") != MODEL:
            raise Refused(404, f"The model '{asked.get('model')}' does not exist")
        if path == "/v1/systemone":
            text, codes = str(asked["state"]), list(asked["questions"]["label"]["criteria"])
            if len(codes) > 26:
                raise Refused(400, "at most 26 options for this model")
        else:
            message = str(asked["messages"][0]["content"])
            found = _DOCUMENT.search(message)
            if found is None:
                raise Refused(400, "no document is in the message")
            text, codes = found[1], _CODE.findall(message[: found.start()])
            if not asked.get("logprobs") or not 1 <= asked.get("top_logprobs", 0) <= _MOST_TOP:
                raise Refused(400, f"logprobs, and 1 to {_MOST_TOP} top_logprobs, are expected")
        if len(text) // _CHARS_PER_TOKEN > self._context_tokens:
            if path == "/api/chat" and (asked.get("truncate") is not False or asked.get("shift") is not False):
                text = text[-self._context_tokens * _CHARS_PER_TOKEN :]  # as Ollama does, without a word
            else:
                raise Refused(400, f"the prompt is longer than the context of {self._context_tokens} tokens")
        return text, codes

    def _take_fault(self, text: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.times == 0 or (fault.text_contains is not None and fault.text_contains not in text):
                    continue
                fault.times = None if fault.times is None else fault.times - 1
                return fault
        return None

    def _content(self, asked: Mapping[str, Any], text: str, codes: list[str], fault: str | None) -> dict[str, Any]:
        read = 40 + len(text) // _CHARS_PER_TOKEN
        if self.shape.startswith("systemone"):
            return self._decision(text, codes, fault, read)
        tokens = likeliest_tokens(text, codes, self._top_tokens, has_codes=fault != "no_code")
        if fault == "round":
            tokens = [(token, round(share, 2)) for token, share in tokens]
        listed = [
            {"token": token, "logprob": math.log(share) if share else -9999.0, "bytes": list(token.encode())}
            for token, share in tokens
        ]
        position = {**listed[0], "top_logprobs": listed}
        answer = tokens[0][0]
        if self.shape == "ollama":
            content = {
                "model": MODEL,
                "message": {"role": "assistant", "content": answer},
                "done": True,
                "done_reason": "length",
                "prompt_eval_count": read,
                "eval_count": 1,
            }
            if fault == "no_usage":
                del content["prompt_eval_count"], content["eval_count"]
            return content if fault == "no_logprobs" else content | {"logprobs": [position]}
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": answer},
            "finish_reason": "length",
            "logprobs": None if fault == "no_logprobs" else {"content": [position]},
        }
        content = {
            "object": "chat.completion",
            "model": MODEL,
            "choices": [choice],
            "system_fingerprint": "fp_stand_in",
        }
        usage = {"prompt_tokens": read, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 16}}
        return content if fault == "no_usage" else content | {"usage": usage}

    def _decision(self, text: str, names: list[str], fault: str | None, read: int) -> dict[str, Any]:
        shares = label_shares(text, len(names))
        if fault == "round":
            shares = [round(share, 2) for share in shares]
        probabilities = dict(zip(names, shares, strict=True))
        answer: dict[str, Any] = {"type": "choice", "choice": max(probabilities, key=lambda name: probabilities[name])}
        if fault != "no_logprobs":
            answer["probabilities"] = probabilities
        content: dict[str, Any] = {"model": MODEL, "answers": {"label": answer}}
        if fault != "no_usage":
            content["usage"] = {"input_tokens": read, "output_tokens": 1}
        if self.shape == "systemone":
            mass = 0.0001 if fault == "no_code" else MASS
            content["diagnostics"] = {"label": {"label_mass": mass, "argmax_is_label": fault != "no_code"}}
        return content

    def _control(self, method: str, path: str, body: bytes) -> Reply:
        """``POST /control/faults`` replaces the faults; ``GET /control/calls`` tells what was processed."""
        if (method, path) == ("POST", "/control/faults"):
            self.faults = [Fault(**each) for each in json.loads(body)]
            return json_reply(200, {"faults": len(self.faults)})
        if (method, path) == ("GET", "/control/calls"):
            return json_reply(200, {"processed": dict(self.processed), "most_at_once": self.most_at_once})
        return json_reply(404, {"error": {"message": f"no route {path}"}})


def json_reply(status: int, content: Mapping[str, Any]) -> Reply:
    """An answer in JSON."""
    return Reply(status, json.dumps(content).encode(), {"content-type": "application/json"})


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
