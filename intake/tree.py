"""A job and the jobs that it is made of, each with what it inherits."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Self

from fanfold.contract.settings import IntakeSettings
from fanfold.intake.faults import Path, pointer, refuse_limit
from fanfold.intake.job_request import JobBody, JobRequest, Stage, SubJobRequest

_INHERITED: Final = (
    "reducer",
    "retry",
    "chunk_timeout_seconds",
    "chunk_size",
    "max_chunk_bytes",
    "item_key",
    "check_items",
    "execution",
    "max_concurrency",
    "on_failure",
    "hold_timeout_seconds",
    "tolerated_failures",
    "labels",
    "priority",
)
"""What a sub-job has from the job above it where it does not say; besides its work."""


@dataclass(slots=True, eq=False, kw_only=True)
class Node:
    """A job in its tree."""

    asked: JobRequest | SubJobRequest
    """What its body says."""
    whole: JobRequest | SubJobRequest
    """The same, with what it inherits."""
    path: Path = ()
    """Where in the body of the request it stands."""
    above: Self | None = None
    jobs: list[Self] = field(default_factory=list)
    data_of: Self | None = None
    """The job whose data it gets, or hands on to those below: itself, or one above. None where it
    has none, or gets the result of the one before it."""

    @property
    def name(self) -> str | None:
        """Its name among the sub-jobs of the one above; None of the root."""
        return str(self.path[-1]) if self.above else None

    @property
    def is_leaf(self) -> bool:
        """Whether it has chunks; if not, it is made of jobs."""
        return self.asked.jobs is None

    @property
    def is_upload(self) -> bool:
        """Whether its own data follows."""
        return isinstance(self.asked, JobRequest) and self.asked.source is not None

    @property
    def has_data(self) -> bool:
        """Whether data came with it, or follows."""
        return self.asked.items is not None or self.asked.chunks is not None or self.is_upload

    @property
    def has_previous_input(self) -> bool:
        """Whether its items are the result of the sub-job before it."""
        return isinstance(self.asked, SubJobRequest) and self.asked.input is not None

    @property
    def is_scattered_to(self) -> bool:
        """Whether its chunks are of data that another job came with."""
        return self.is_leaf and self.data_of is not None and self.data_of is not self

    @property
    def is_handed_on(self) -> bool:
        """Whether its processor runs with its options, in it or in one below that names neither."""
        none = (None, None, None)
        return self.is_leaf or any(
            (below.asked.processor, below.asked.stages, below.asked.options) == none
            and below.is_handed_on
            for below in self.jobs
        )

    @property
    def stages(self) -> list[Stage]:
        """What every chunk runs through, also where that is one processor; may be empty."""
        return steps_of(self.whole)


def steps_of(body: JobBody) -> list[Stage]:
    """The steps that a body names, also where that is one processor."""
    if body.stages is not None:
        return body.stages
    if body.processor is None:
        return []
    # What is here has been validated.
    step = Stage.model_construct(
        processor=body.processor,
        options=body.options or {},
        retry=None,
        timeout_seconds=None,
        when=None,
    )
    return [step]


def tree_of(request: JobRequest) -> list[Node]:
    """The job and all below it, each before those it is made of."""
    root = Node(asked=request, whole=request)
    root.data_of = root if root.has_data else None
    nodes = [root]
    _add_below(root, nodes)
    return nodes


def _add_below(node: Node, nodes: list[Node]) -> None:
    for name, asked in (node.asked.jobs or {}).items():
        below = Node(
            asked=asked,
            whole=_with_inherited(asked, node.whole),
            path=(*node.path, "jobs", name),
            above=node,
        )
        if below.has_data or (below.has_previous_input and not below.is_leaf):
            below.data_of = below  # the latter is refused, for that alone
        elif not below.has_previous_input:
            below.data_of = node.data_of
        node.jobs.append(below)
        nodes.append(below)
        _add_below(below, nodes)


def _with_inherited(asked: SubJobRequest, above: JobBody) -> SubJobRequest:
    said = asked.model_fields_set
    inherited: dict[str, Any] = {
        name: getattr(above, name) for name in _INHERITED if name not in said
    }
    if asked.processor is None and asked.stages is None:
        inherited |= {"processor": above.processor, "stages": above.stages}
        if asked.options is None:
            inherited["options"] = above.options
    return asked.model_copy(update=inherited)


def check_size(document: Any, limits: IntakeSettings) -> None:  # noqa: ANN401 - any JSON value
    """Raises InvalidJob where the job is made of too many jobs, or goes too deep.

    Of a document that nothing has checked yet: to check millions of sub-jobs takes minutes.
    """
    count = 0
    for path, jobs in _levels(document):
        if len(path) // 2 >= limits.max_job_depth:
            most = limits.max_job_depth
            refuse_limit(pointer(*path, "jobs"), "levels of jobs", most, "FANFOLD_MAX_JOB_DEPTH")
        if len(jobs) > limits.max_jobs_a_level:
            most = limits.max_jobs_a_level
            place = pointer(*path, "jobs")
            refuse_limit(place, "jobs side by side", most, "FANFOLD_MAX_JOBS_A_LEVEL")
        count += len(jobs)
        if count > limits.max_jobs_in_tree:
            most = limits.max_jobs_in_tree
            refuse_limit(pointer("jobs"), "sub-jobs in all", most, "FANFOLD_MAX_JOBS_IN_TREE")


def _levels(document: object) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The `jobs` of each job in the document, with the place of that job."""
    waiting: list[tuple[Path, object]] = [((), document)]
    while waiting:
        path, job = waiting.pop()
        jobs = job.get("jobs") if isinstance(job, dict) else None
        if isinstance(jobs, dict):
            yield path, jobs
            waiting += [((*path, "jobs", name), below) for name, below in jobs.items()]
