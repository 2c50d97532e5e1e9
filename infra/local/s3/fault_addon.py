"""Runs inside mitmproxy, in its own environment: disturbs requests as ``faults.json`` in its folder says.

Whether a request is disturbed depends on the seed, its method and path, and how often that has been asked for; not on
what else happens at the same time. So the same seed is the same disturbance.
"""

import json
import random
from collections import Counter
from pathlib import Path

from mitmproxy import ctx, http  # type: ignore[import-not-found]  # only in the proxy's own environment

_ANSWERS = {
    "unavailable": (503, "SlowDown", "Please reduce your request rate."),
    "internal_errors": (500, "InternalError", "We encountered an internal error. Please try again."),
}
_KINDS = ("unavailable", "internal_errors", "dropped", "lost_replies")


class FaultAddon:
    """The hooks mitmproxy calls."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()
        self._disturbed: Counter[str] = Counter()

    def load(self, loader: "ctx.addonmanager.Loader") -> None:
        """Declare our option."""
        loader.add_option("fault_folder", str, "", "folder of faults.json and disturbances.jsonl")

    def configure(self, updated: set[str]) -> None:
        """Read what to do."""
        if "fault_folder" in updated:
            self._folder = Path(ctx.options.fault_folder)
            self._faults = json.loads((self._folder / "faults.json").read_text(encoding="utf-8"))

    def request(self, flow: http.HTTPFlow) -> None:
        """Before the server hears of it."""
        fault = self._choose(flow.request)
        if fault is None:
            return
        with (self._folder / "disturbances.jsonl").open("a", encoding="utf-8") as log:
            line = {"fault": fault, "method": flow.request.method, "path": flow.request.path}
            log.write(json.dumps(line) + "\n")
        if fault in _ANSWERS:
            status, code, message = _ANSWERS[fault]
            body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
            flow.response = http.Response.make(status, body, {"Content-Type": "application/xml"})
        elif fault == "dropped":
            flow.kill()
        else:
            flow.metadata["lose_reply"] = True

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """After the server has done the work."""
        if flow.metadata.get("lose_reply"):
            flow.kill()

    def _choose(self, request: http.Request) -> str | None:
        if request.method not in self._faults["methods"] or not request.path.startswith(tuple(self._faults["paths"])):
            return None
        which = f"{request.method} {request.path}"
        self._asked[which] += 1
        if self._disturbed[which] >= self._faults["per_request"]:
            return None
        draw = random.Random(f"{self._faults['seed']} {which} {self._asked[which]}").random()  # noqa: S311  # no secret
        for kind in _KINDS:
            draw -= self._faults[kind]
            if draw < 0:
                self._disturbed[which] += 1
                return kind
        return None


addons = [FaultAddon()]
