"""Whatever happens to a tree, in whatever order: what is above is right, and all of it can end."""

import asyncio
from collections.abc import Sequence

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fanfold.contract.states import JobState
from fanfold.ledger.connect import Ledger
from tests.ledger.jobs_recorded import found, ours
from tests.ledger.tree_lives import Grove, Step
from tests.ledger.trees import FROM_BEFORE, Node, leaf, parallel, sequence, undone

steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["claim"] * 6
            + ["succeed", "fail"] * 3
            + ["succeed in part", "hold", "put off", "hand back"]
            + ["open", "give", "give", "skip", "never", "undo"]
            + ["pause", "resume", "resume", "cancel", "cancel child", "prioritize"]
            + ["wait", "release", "resolve", "lose"]
            + ["close"] * 6
            + ["settle below"]
            + ["redrive"] * 4
        ),
        st.integers(0, 12),
        st.integers(0, 30),
    ),
    min_size=15,
    max_size=35,
)


def named(jobs: Sequence[Node]) -> dict[str, Node]:
    return {f"s{at}": job for at, job in enumerate(jobs)}


def in_sequence(first: Node, rest: Sequence[Node]) -> Node:
    return sequence(**named([first, *rest]))


leaves = st.sampled_from([leaf(1), leaf(1, 2), leaf(), undone(1, 1)])
trees = st.recursive(
    leaves,
    lambda below: st.one_of(
        st.lists(below, min_size=1, max_size=3).map(lambda jobs: parallel(**named(jobs))),
        st.builds(in_sequence, below, st.lists(st.one_of(below, st.just(FROM_BEFORE)), max_size=2)),
    ),
    max_leaves=5,
).map(lambda node: parallel(1, 1, only=node, other=leaf(1)))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees, steps=steps)
@example(
    tree=sequence(a=leaf(1), b=FROM_BEFORE),
    steps=[
        *[("claim", 1, 0), ("succeed", 0, 1), ("close", 1, 0), ("give", 2, 1), ("claim", 2, 0)],
        *[("fail", 0, 0), ("close", 2, 2), ("close", 0, 2), ("redrive", 0, 0), ("redrive", 2, 1)],
    ],
)
def test_what_is_above_adds_up_and_all_of_a_tree_can_end(
    loop: asyncio.Runner, ledger: Ledger, tree: Node, steps: Sequence[Step]
) -> None:
    async def live() -> None:
        grove = await Grove.new(ledger, tree)
        await grove.check()
        for step in steps:
            await grove.step(*step)
            await grove.check()
        await grove.end()
        await grove.check()
        for job_id in (grove.tree.root, *grove.tree.ids.values()):
            job = await found(ledger, job_id)
            assert job.state.is_terminal
            counts = job.counts
            assert counts.open == counts.held == 0
            judged = counts.succeeded + counts.partially_succeeded + counts.failed
            assert judged + counts.cancelled == job.total_chunks
            if job.state is not JobState.SKIPPED and job.is_parent:
                assert sum((job.jobs or {}).values()) == job.place.sub_jobs
        assert await ours(ledger).jobs.purge(grove.tree.root)
        while await ledger.retention.delete_some():
            pass

    loop.run(live())
