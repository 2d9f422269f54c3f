"""Jobs that come with all their data: where there is no gateway to which it could follow."""

from typing import Any

from fanfold.contract.settings import IntakeSettings
from fanfold.intake.faults import pointer, refuse
from fanfold.intake.preparing import PreparedJob, prepare
from fanfold.intake.published import PublishedCode


def prepare_whole(document: Any, limits: IntakeSettings, code: PublishedCode) -> PreparedJob:  # noqa: ANN401 - any JSON value
    """The job in this document; see `prepare`.

    Raises InvalidJob also where its data is to follow.
    """
    prepared = prepare(document, limits, code)
    if prepared.chunks is None:
        message = "the data has to come with the job here: give items or chunks"
        refuse("invalid_job", pointer("source"), message)
    return prepared
