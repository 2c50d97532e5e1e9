"""What a person sees of `pipeline adapt`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flows.console.printable import printable_line
from pipelines.report.page import percent

if TYPE_CHECKING:
    from flows.deciding.adapting import Adapted


def show_adapted(adapted: Adapted, say: Callable[[str], object]) -> None:
    """Before and after, whether there is an adapter, and what comes next."""
    gate = adapted.gate
    for name, measured in (("before", gate.before), ("after", gate.after)):
        say(
            f"{name:<9} Claude would be asked about {percent(measured.asked_share)} of {gate.documents:,} documents; "
            f"right alone {percent(measured.accuracy)}, calibration error {measured.calibration_error:.3f}"
        )
    interval = f"{percent(gate.saved_low)} to {percent(gate.saved_high)}"
    say(f"saved     {percent(gate.saved)} of the documents ({interval}), by {gate.held_back:,} labels held back")
    if adapted.adapter is None:
        say("adapter   none: with it Claude would not surely be asked less, so nothing is written")
        say("next      learn from more labels: name more runs, or more sources with --from")
        return
    place = printable_line(adapted.adapter)
    say(f"adapter   {place}")
    say(f"next      pipeline submit JOB.yaml --adapter {place}   or in the job, for good:")
    say(f"          model: {{source: {printable_line(adapted.base)}, adapter: {place}}}")
