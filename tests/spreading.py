"""How pytest-xdist spreads tests over processes: whole modules, and on when one of the processes dies."""

from __future__ import annotations

import re
from collections.abc import Mapping

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

# What one process runs: modules whose tests would disturb each other at a server, and those that import or preload the
# same heavy things, vLLM or what a fork server of the fault tests holds.
_TOGETHER: Mapping[str, str] = {
    "server": (
        r"tests/flows/(service/test_deployments|drop_folder/test_drop_folder_starters)|tests/scenarios/test_resume\.py"
    ),
    "vllm": (
        r"tests/workers/(engines/test_(engine|engine_time|review_engine)\.py|adapting/)|tests/flows/deciding/test_adapting"
    ),
    "escalation": r"tests/faults/test_(escalation|what_is_kept_where)",
    "quality": r"tests/faults/test_(quality|questions)",
}


class ByModule(LoadFileScheduling):
    """Hands whole modules to one process: what their fixtures make is made once.

    `--dist loadgroup` would do, but pytest-xdist 3.8 does not see its groups with pytest 9.2.
    """

    def remove_node(self, node: WorkerController) -> str | None:
        """Fail the test in which a process died, and leave the rest of its tests to the others.

        The parent would hand out that test again, which ends the next process as well, and also tests that are done:
        a process that gets nothing else waits for ever.
        """
        undone = {
            scope: {nodeid: False for nodeid, is_done in unit.items() if not is_done}
            for scope, unit in self.assigned_work.pop(node).items()
        }
        died_in = next((nodeid for unit in undone.values() for nodeid in unit), None)
        for unit in undone.values():
            unit.pop(died_in, None)
        self.workqueue.update({scope: unit for scope, unit in undone.items() if unit})
        self._give_out()
        return died_in

    def schedule(self) -> None:
        """Begin, or take in a process that replaces a dead one."""
        super().schedule()
        self._give_out()

    def _give_out(self) -> None:
        """Twice: a process begins its last test only once it is told that it is the last."""
        for node in [*self.assigned_work, *self.assigned_work]:
            if node in self.registered_collections:
                self._reschedule(node)

    def _split_scope(self, nodeid: str) -> str:
        group = next((name for name, modules in _TOGETHER.items() if re.match(modules, nodeid)), None)
        return group or str(super()._split_scope(nodeid))
