"""The moves between states: docs/job-states.md shows them, and no SQL makes any other."""

import re
from collections.abc import Sequence

import pytest

from fanfold.contract.states import ChunkState, JobState, State
from fanfold.ledger.transitions import (
    CANCEL,
    CHUNK_MOVES,
    DISCARD,
    GO_ON,
    JOB_MOVES,
    OPEN_CHUNK,
    PAUSE,
    REDRIVE,
    RESTORE,
    RESUME,
    RESUME_UNBEGUN,
    RUN_AGAIN,
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
REDRIVES: dict[str, Move[JobState] | Move[ChunkState]] = {
    "## Jobs": REDRIVE,
    "## Chunks": RUN_AGAIN,
}
NOWHERE = "[*]"
KEPT = "kept_from"
"""Of a chunk that is to run again: the state it was in."""

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
def test_nothing_but_a_redrive_leaves_a_terminal_state(heading: str) -> None:
    leaving = [move for move in MOVES[heading] if any(map(is_terminal, move.before))]
    assert leaving == [REDRIVES[heading]]
    assert leaving[0].by == (By.GATEWAY,)
    assert {state for state in leaving[0].before if is_terminal(state)} == {
        state for state in STATES[heading] if is_terminal(state)
    }


def test_a_redrive_that_comes_to_nothing_leaves_each_chunk_as_it_was() -> None:
    assert sorted(move.after for move in RESTORE) == sorted(RUN_AGAIN.before)
    for move in RESTORE:
        assert move.before == OPEN_CHUNK


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


def test_the_page_says_what_each_control_does_by_the_moves() -> None:
    told: dict[JobState, list[str]] = {
        JobState(state.strip(" `")): answers
        for states, *answers in rows(section(PAGE, "## Which control is heard when"))
        for state in states.split(",")
    }
    assert set(told) == set(JobState)
    for state, (pause, resume, release, redrive, _) in told.items():
        assert is_heard(pause) == (state in (*PAUSE.before, PAUSE.after)), state
        assert is_heard(resume) == (state in RESUME.before), state
        assert is_heard(release) == (state in GO_ON.before), state
        assert is_heard(redrive) == (state in (*REDRIVE.before, *GO_ON.before)), state
        for answer, moves in (
            (pause, [PAUSE]),
            (resume, [RESUME, RESUME_UNBEGUN]),
            (release, [GO_ON]),
            (redrive, [GO_ON] if state in GO_ON.before else [REDRIVE]),
        ):
            if is_heard(answer):
                assert re.findall(r"`(\w+)", answer) == [str(move.after) for move in moves]
            else:
                assert re.findall(r"`(\w+)", answer)[0].startswith("job_"), (state, answer)


def is_heard(answer: str) -> bool:
    return answer.startswith("202")


def test_the_conditions_are_those_of_the_partial_indexes() -> None:
    migrations = "".join(path.read_text() for path in (ROOT / "ledger/migrations").rglob("*.py"))
    assert f'"{in_states(UNFINISHED)}"' in migrations
    assert f'"{DISCARD.condition}"' in migrations


def test_no_state_is_written_but_by_a_move() -> None:
    for path in (ROOT / "ledger").glob("*.py"):
        text = path.read_text()
        assert not re.search(rf"SET state = (?!{KEPT})|, state = '", text), path
        # Wherever a move's change is written, its condition guards it.
        for name in re.findall(r"\{(\w+)\.change\}", text):
            guards = (f"{{{name}.condition}}", f"{name}.before", "_HOLDS_ATTEMPT")
            assert any(guard in text for guard in guards), (path, name)


def test_what_is_restored_is_the_state_that_a_redrive_found() -> None:
    texts = {path.name: path.read_text() for path in (ROOT / "ledger").glob("*.py")}
    assert [name for name, text in texts.items() if f"SET state = {KEPT}" in text] == [
        "restoring.py"
    ]
    (noted,) = [text for text in texts.values() if f"{KEPT} = state" in text]
    assert f"{{RUN_AGAIN.change}}, {KEPT} = state" in noted


def is_terminal(state: State) -> bool:
    assert isinstance(state, JobState | ChunkState)
    return state.is_terminal


def test_a_job_is_closed_only_out_of_the_states_that_its_end_may_follow() -> None:
    running = JobState.RUNNING
    stopped = (JobState.PENDING, running, JobState.PAUSED, JobState.WAITING)
    assert may_close(JobState.SUCCEEDED) == (running, JobState.CANCELLING)
    assert may_close(JobState.FAILED) == (*stopped, JobState.CANCELLING)
    assert may_close(JobState.CANCELLED) == (*stopped, JobState.CANCELLING)
