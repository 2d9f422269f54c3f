"""Which jobs of a tree are opened again with those that run again: against a plain model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.contract.names import JobId
from fanfold.contract.states import JobState
from fanfold.ledger.reopening import Node, plan

NEVER_RAN = (JobState.CANCELLED, JobState.SKIPPED, JobState.FAILED)


@dataclass(frozen=True)
class Job:
    """A job with those that it is made of."""

    state: JobState = JobState.FAILED
    has_begun: bool = True
    is_sequence: bool = False
    jobs: "Sequence[Job]" = field(default_factory=tuple)
    has_compensation: bool = False
    is_undone: bool = False


def sequence(*jobs: Job) -> Job:
    return Job(jobs=jobs, is_sequence=True)


def parallel(*jobs: Job) -> Job:
    return Job(jobs=jobs)


RAN = Job()
NOT_YET = Job(JobState.PENDING, has_begun=False)
CANCELLED = Job(JobState.CANCELLED, has_begun=False)
SKIPPED = Job(JobState.SKIPPED, has_begun=False)
UNDECIDED = Job(JobState.FAILED, has_begun=False)


def numbered(root: Job) -> list[Node]:
    """The jobs of a tree as the ledger has them: their ids are their places in this list."""
    nodes: list[Node] = []

    def add(job: Job, parent: JobId | None, position: int) -> int:
        at, job_id = len(nodes), JobId(str(len(nodes)))
        last = position
        nodes.append(Node(job_id, parent, position, last, job.state, job.has_begun, False, False))
        for below in job.jobs:
            last = add(below, job_id, last + 1)
        last += job.has_compensation
        is_parent = bool(job.jobs)
        nodes[at] = Node(
            *(job_id, parent, position, last, job.state, job.has_begun),
            is_parent=is_parent,
            is_sequence=is_parent and job.is_sequence,
            is_undone=job.is_undone,
        )
        return last

    add(root, None, 0)
    return nodes


def opened(root: Job, *selected: int) -> list[int]:
    """The places of all that is opened again with these."""
    also = plan(numbered(root), {JobId(str(at)) for at in selected})
    return sorted(int(job_id) for job_id in (*also.parents, *also.unbegun, *also.undone))


def test_all_above_is_opened_and_nothing_beside() -> None:
    assert opened(parallel(parallel(RAN, RAN), RAN, CANCELLED), 2) == [0, 1]


def test_in_a_sequence_what_never_ran_after_it_gets_its_turn() -> None:
    assert opened(sequence(RAN, CANCELLED, SKIPPED, RAN, NOT_YET), 1) == [0, 2, 3]
    assert opened(sequence(CANCELLED, RAN, CANCELLED), 2) == [0, 3]
    assert opened(sequence(RAN, UNDECIDED), 1) == [0, 2]


def test_what_gets_its_turn_gets_it_with_all_below_it() -> None:
    never = Job(JobState.CANCELLED, has_begun=False, jobs=(CANCELLED, CANCELLED))
    assert opened(sequence(RAN, never), 1) == [0, 2, 3, 4]


def test_what_came_to_something_in_an_earlier_run_keeps_it_with_all_below() -> None:
    # It was reached in the first run, and not in the second.
    kept = Job(JobState.PARTIALLY_SUCCEEDED, jobs=(RAN, SKIPPED))
    again = Job(JobState.CANCELLED, has_begun=False, jobs=(kept, CANCELLED))
    assert opened(sequence(RAN, again), 1) == [0, 2, 6]


def test_a_sequence_goes_on_in_all_sequences_that_it_is_in() -> None:
    inner = sequence(RAN, CANCELLED)
    assert opened(sequence(inner, CANCELLED, parallel(RAN)), 2) == [0, 1, 3, 4]


def test_what_was_selected_is_not_opened_twice() -> None:
    assert opened(sequence(RAN, CANCELLED, CANCELLED), 1, 2) == [0, 3]


def test_what_gets_its_turn_gets_it_whole_also_where_some_of_it_was_selected() -> None:
    never = Job(JobState.CANCELLED, has_begun=False, jobs=(CANCELLED, CANCELLED))
    assert opened(sequence(RAN, never), 1, 3) == [0, 2, 4]


def test_what_was_undone_for_a_job_that_is_opened_runs_again_and_what_follows_it() -> None:
    undone = Job(JobState.SUCCEEDED, has_compensation=True, is_undone=True)
    inner = Job(JobState.SUCCEEDED, jobs=(undone, RAN, SKIPPED), is_sequence=True)
    # The root has failed: what succeeded below it was undone.
    assert opened(parallel(inner, RAN), 5) == [0, 1, 2, 4]
    # A part that had succeeded undid nothing.
    succeeded = Job(JobState.SUCCEEDED, jobs=(undone, RAN))
    assert opened(succeeded, 2) == [0]
    assert opened(succeeded, 1) == [0, 1]


def test_those_above_come_first() -> None:
    also = plan(
        numbered(parallel(parallel(parallel(RAN)), parallel(RAN))), {JobId("3"), JobId("5")}
    )
    assert also.parents == ["0", "1", "2", "4"]


def test_without_a_selection_nothing_is_opened() -> None:
    assert opened(sequence(RAN, CANCELLED)) == []


ends = st.sampled_from(
    [
        *((JobState.FAILED, True), (JobState.SUCCEEDED, True), (JobState.CANCELLED, True)),
        # Often, or little of interest would be drawn.
        *[(JobState.CANCELLED, False), (JobState.SKIPPED, False)] * 2,
        (JobState.FAILED, False),
    ]
)


def ended(
    end: tuple[JobState, bool],
    *,
    is_sequence: bool = False,
    below: Sequence[Job],
    is_undone: bool = False,
) -> Job:
    state, has_begun = end
    return Job(state, has_begun, is_sequence, below, is_undone, is_undone)


jobs = st.recursive(
    st.builds(ended, ends, below=st.just(()), is_undone=st.booleans()),
    lambda below: st.builds(
        *(ended, ends),
        is_sequence=st.booleans(),
        below=st.lists(below, min_size=1, max_size=4),
    ),
    max_leaves=12,
)


Below = Mapping[JobId, Sequence[Node]]
"""The jobs that each is made of."""


def in_turn(job: Node, below: Below) -> Iterator[JobId]:
    """What gets its turn with a job."""
    if not job.has_begun and job.state in NEVER_RAN:
        yield job.id
        for one in below[job.id]:
            yield from in_turn(one, below)


def undone_of(job: Node, below: Below) -> Iterator[JobId]:
    if job.is_undone:
        yield job.id
    for one in below[job.id]:
        yield from undone_of(one, below)


def for_its_sake(job: Node, below: Below) -> Iterator[JobId]:
    """What was undone since a job came to nothing, or one of its sequence did."""
    came_to_nothing = job.state in (JobState.FAILED, JobState.CANCELLED)
    if job.is_sequence or came_to_nothing or not job.is_parent:
        yield from undone_of(job, below)


def with_a_job(job: Node, opened: set[JobId], below: Below) -> Iterator[JobId]:
    """What is opened with a job, apart from what was undone."""
    if job.parent is not None:
        yield job.parent
    siblings = below[job.id] if job.is_sequence else ()
    for at, one in enumerate(siblings):
        if one.id in opened:
            for after in siblings[at + 1 :]:
                yield from in_turn(after, below)


def model(nodes: Sequence[Node], selected: set[JobId]) -> tuple[set[JobId], set[JobId]]:
    """The same by the rules, said as plainly as can be, until nothing changes any more.

    What is opened besides, and what of all was undone.
    """
    below = {node.id: [one for one in nodes if one.parent == node.id] for node in nodes}
    result, undone = set(selected), set[JobId]()
    while True:
        opened = [node for node in nodes if node.id in result]
        undone |= {job_id for node in opened for job_id in for_its_sake(node, below)}
        more = {job_id for node in opened for job_id in with_a_job(node, result, below)}
        if more | undone <= result:
            return result - selected, undone
        result |= more | undone


@settings(max_examples=300)
@given(jobs, st.randoms(use_true_random=False), st.integers(1, 4))
def test_the_plan_is_what_the_rules_say(root: Job, random: Random, count: int) -> None:
    nodes = numbered(root)
    leaves = [node.id for node in nodes if not node.is_parent]
    chosen = random.sample(leaves, min(count, len(leaves)))

    also = plan(nodes, set(chosen))

    expected, undone = model(nodes, set(chosen))
    assert set(also.undone) == undone
    found = [*also.parents, *also.unbegun, *undone - set(chosen)]
    assert len(found) == len(set(found))
    assert set(found) == expected
    of = {node.id: node for node in nodes}
    assert all(of[job_id].is_parent for job_id in also.parents)
    assert not any(of[job_id].is_parent for job_id in also.unbegun)
    # Nothing is open below a job that is not.
    for job_id in (*found, *chosen):
        parent = of[job_id].parent
        assert parent is None or parent in found
