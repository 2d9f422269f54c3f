"""The steps of the state machine: what may be drawn, how often, and what may be answered."""

from typing import Any, Final

from hypothesis import strategies as st

from tests.e2e.faults import EXECUTIONS
from tests.e2e.journeys import TERMINAL_JOB_STATES
from tests.e2e.scripted import BEHAVIOURS

WORKERS: Final = 3

# What is answered in each state of a job that one was seen in: a status, or a code.
_FINISHED: Final = dict.fromkeys(TERMINAL_JOB_STATES, "job_already_finished")
ANSWERS: Final[dict[str, dict[str, str]]] = {
    "pause": {"waiting": "job_waiting", "cancelling": "job_cancelling", **_FINISHED},
    "resume": dict.fromkeys(
        ["pending", "running", "waiting", "cancelling", *TERMINAL_JOB_STATES], "job_not_paused"
    ),
    "release": dict.fromkeys(
        ["pending", "running", "paused", "cancelling", *TERMINAL_JOB_STATES], "job_not_waiting"
    ),
    "change": _FINISHED,
    "cancel": {**_FINISHED, "cancelled": "200"},
    "redrive": dict.fromkeys(["pending", "running", "paused", "cancelling"], "job_not_finished"),
}
# What a job may become by itself between two looks.
BECOMES: Final[dict[str, set[str]]] = {
    "pending": {"pending", "running", "waiting", *TERMINAL_JOB_STATES} - {"cancelled"},
    "running": {"running", "waiting", *TERMINAL_JOB_STATES} - {"cancelled"},
    "paused": {"paused", "failed"},
    "waiting": {"waiting", "failed"},
    "cancelling": {"cancelling", "cancelled"},
    **{state: {state} for state in TERMINAL_JOB_STATES},
}

_jobs = st.integers(0, len(EXECUTIONS) - 1)
_seconds = st.sampled_from([0.0, 0.02, 0.1, 0.4])
# As often as not, an item does well in the end.
behaviours = st.lists(st.sampled_from(["ok", "ok", *BEHAVIOURS]), min_size=1, max_size=3)
_changes = st.fixed_dictionaries(
    {},
    optional={
        "max_concurrency": st.integers(1, 4),
        "max_per_second": st.sampled_from([None, 4, 30]),
        "tolerated_failures": st.sampled_from([None, {"count": 3}, {"consecutive": 2}]),
        "priority": st.integers(1, 5),
        "deadline_seconds": st.sampled_from([None, None, 60, 3]),
    },
).filter(bool)
_redrives = st.fixed_dictionaries(
    {},
    optional={
        "max_concurrency": st.integers(1, 4),
        "options": st.just({}),
        "retry": st.builds(
            lambda most: {"max_attempts": most, "initial_interval_seconds": 0.05},
            st.integers(1, 3),
        ),
    },
)
_selections: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.fixed_dictionaries(
    {},
    optional={
        "indexes": st.lists(st.integers(0, 3), min_size=1, max_size=3),
        "states": st.lists(
            st.sampled_from(["failed", "partially_succeeded", "cancelled", "held", "succeeded"]),
            min_size=2,
            max_size=4,
            unique=True,
        ),
        "error_types": st.sampled_from(
            [["ConnectionError", "ValidationError"], ["ValidationError"], ["WorkerLost"]]
        ),
    },
)


_pick = st.integers(0, WORKERS - 1)
_STEPS: Final[dict[str, tuple[int, dict[str, st.SearchStrategy[Any]]]]] = {
    "settle": (2, {"job": _jobs}),
    "wait": (4, {"seconds": _seconds}),
    "pause": (4, {"job": _jobs, "twice": st.booleans()}),
    "resume": (5, {"job": _jobs}),
    "change": (4, {"job": _jobs, "changes": _changes}),
    "cancel": (1, {"job": _jobs, "drain": st.booleans()}),
    "cancel_child": (3, {"job": _jobs, "index": st.integers(0, 5), "runs": st.booleans()}),
    "release": (2, {"job": _jobs}),
    "resolve": (
        2,
        {"job": _jobs, "value": st.sampled_from([[8, 9], [None, 1], {"by": "hand"}, 0, None])},
    ),
    "redrive": (
        8,
        {
            "job": _jobs,
            "select": _selections,
            "given": _redrives,
            "key": st.booleans(),
            "heals": st.booleans(),
            "corrects": st.booleans(),
            "settles": st.sampled_from([True, True, False]),
            "dies": st.sampled_from([False] * 7 + [True]),
        },
    ),
    "kill_worker": (2, {"pick": _pick}),
    "kill_gateway": (1, {}),
    "stop_worker": (2, {"pick": _pick, "seconds": st.sampled_from([0.3, 1.0, 2.5])}),
}
# One rule for all, since rules have no weights: a kill takes longer than all else.
steps = st.sampled_from(
    [name for name, (weight, _) in _STEPS.items() for _ in range(weight)]
).flatmap(lambda name: st.tuples(st.just(name), st.fixed_dictionaries(_STEPS[name][1])))
