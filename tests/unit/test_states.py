"""States: those that this release knows are members, and only they are asked for by clients."""

import pydantic
import pytest

from fanfold.client import models
from fanfold.contract.states import ChunkState, JobState


@pytest.mark.parametrize("state", [*JobState, *ChunkState])
def test_a_known_state_is_read_as_the_member(state: JobState | ChunkState) -> None:
    assert type(state).read(str(state)) is state


@pytest.mark.parametrize("kind", [JobState, ChunkState])
def test_an_unknown_state_is_its_text_and_no_member(kind: type[JobState | ChunkState]) -> None:
    state = kind.read("hibernating")
    assert (state, f"{state}", state.is_terminal) == ("hibernating", "hibernating", False)
    assert "hibernating" not in list(kind)


def test_a_client_may_ask_for_known_states_only() -> None:
    asked = pydantic.TypeAdapter(JobState)
    assert asked.validate_python("running") is JobState.RUNNING
    with pytest.raises(pydantic.ValidationError):
        asked.validate_python("hibernating")


def test_the_client_which_imports_nothing_of_ours_knows_the_same_states() -> None:
    assert {str(state) for state in JobState} <= {str(state) for state in models.JobState}
    assert {str(state) for state in ChunkState} <= {str(state) for state in models.ChildState}
    assert {str(state) for state in models.FINISHED} == {
        str(state) for state in JobState if state.is_terminal
    }
