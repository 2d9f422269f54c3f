"""The moves between states: docs/job-states.md shows them, and no SQL makes any other."""

import re
from collections.abc import Sequence

import pytest

from fanfold.contract.states import ChunkState, JobState, State
from fanfold.ledger.transitions import (
    CANCEL,
    CHUNK_MOVES,
    DISCARD,
    JOB_MOVES,
    UNFINISHED,
    By,
    Move,
    in_states,
    may_close,
)
from tests.architecture.test_docs import ROOT, rows, section

PAGE = "job-states.md"
MOVES: dict[str, Sequence[Move[JobState] | Move[ChunkState]]] = {
    "## Jobs": JOB_MOVES,
    "## Chunks": CHUNK_MOVES,
}
STATES: dict[str, type[State]] = {"## Jobs": JobState, "## Chunks": ChunkState}
NOWHERE = "[*]"

of_jobs_and_chunks = pytest.mark.parametrize("heading", list(MOVES))


def arrows(heading: str) -> list[tuple[str, str, str]]:
    """From, to and what happens, of every arrow of the diagram."""
    found = re.findall(r"^ +(\S+) --> ([^\s:]+)(?:: (.*))?$", section(PAGE, heading), re.MULTILINE)
    assert len(set(found)) == len(found)
    return found


@of_jobs_and_chunks
def test_the_diagram_shows_every_move_and_no_other(heading: str) -> None:
    moves = {
        (str(before), str(move.after), move.what)
        for move in MOVES[heading]
        for before in move.before or (NOWHERE,)
    }
    ends = {(str(state), NOWHERE, "") for state in STATES[heading] if is_terminal(state)}
    assert set(arrows(heading)) == moves | ends


@of_jobs_and_chunks
def test_the_table_says_who_makes_the_moves_and_which_states_are_terminal(heading: str) -> None:
    for name, terminal, _, who in rows(section(PAGE, heading)):
        state = STATES[heading](name)
        makers = {by for move in MOVES[heading] if move.after is state for by in move.by}
        assert {by for by in By if by in who} == makers, name
        assert terminal == ("yes" if is_terminal(state) else "no"), name


@of_jobs_and_chunks
def test_nothing_leaves_a_terminal_state(heading: str) -> None:
    for move in MOVES[heading]:
        assert not any(is_terminal(before) for before in move.before), move


def test_the_page_says_what_delete_does_by_the_moves() -> None:
    told = {
        state.strip(" `"): answer
        for states, answer, _ in rows(section(PAGE, "## What DELETE does in each state"))
        for state in states.split(",")
    }
    for state in JobState:
        expected = "409 `job_already_finished`"
        if state in DISCARD.before:
            expected = f"200, `{DISCARD.after}`"
        elif state in (*CANCEL.before, CANCEL.after):
            expected = f"202, `{CANCEL.after}`"
        elif state is DISCARD.after:
            expected = "200"
        assert told.pop(state).strip("`") == expected.strip("`"), state
    assert not told


def test_the_conditions_are_those_of_the_partial_indexes() -> None:
    migrations = "".join(path.read_text() for path in (ROOT / "ledger/migrations").rglob("*.py"))
    assert f'"{in_states(UNFINISHED)}"' in migrations
    assert f'"{DISCARD.condition}"' in migrations


def test_no_state_is_written_but_by_a_move() -> None:
    for path in (ROOT / "ledger").glob("*.py"):
        text = path.read_text()
        assert not re.search(r"SET state = |, state = '", text), path
        # Wherever a move's change is written, its condition guards it.
        for name in re.findall(r"\{(\w+)\.change\}", text):
            assert f"{{{name}.condition}}" in text or "_HOLDS_ATTEMPT" in text, (path, name)


def is_terminal(state: State) -> bool:
    assert isinstance(state, JobState | ChunkState)
    return state.is_terminal


def test_a_job_is_closed_only_out_of_the_states_that_its_end_may_follow() -> None:
    running, stopped = JobState.RUNNING, (JobState.PENDING, JobState.RUNNING, JobState.PAUSED)
    assert may_close(JobState.SUCCEEDED) == (running, JobState.CANCELLING)
    assert may_close(JobState.FAILED) == (*stopped, JobState.CANCELLING)
    assert may_close(JobState.CANCELLED) == (*stopped, JobState.CANCELLING)
