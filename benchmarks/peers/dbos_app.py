"""DBOS's side, as a process: a parent workflow that enqueues child workflows of one step.

`python -m benchmarks.peers.dbos_app DATABASE_FILE`. The shape is its documentation's own
for running many workflows at once; everything else is by default.
"""

import os
import sys

from dbos import DBOS  # type: ignore[import-not-found] # in the peer's own environment

from benchmarks.peers.work import answer_requests, double

_QUEUE = "children"

_double_step = DBOS.step(name="double")(double)


def child(value: int) -> int:
    """One step."""
    return int(_double_step(value))


_child_workflow = DBOS.workflow(name="child")(child)


def parent(values: list[int]) -> tuple[int, int]:
    """How many children succeeded and failed."""
    handles = [DBOS.enqueue_workflow(_QUEUE, _child_workflow, value) for value in values]
    failed = 0
    for handle in handles:
        try:
            handle.get_result()
        except ValueError:
            failed += 1
    return len(handles) - failed, failed


_parent_workflow = DBOS.workflow(name="parent")(parent)


def run(children: int) -> tuple[int, int]:
    """One parent with so many children to its end."""
    succeeded, failed = _parent_workflow(list(range(1, children + 1)))
    return succeeded, failed


if __name__ == "__main__":
    DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{sys.argv[1]}"})
    DBOS.launch()
    DBOS.register_queue(_QUEUE)
    answer_requests(run)
    sys.stdout.flush()
    # Its threads poll on; nothing of them is needed any more.
    os._exit(0)
