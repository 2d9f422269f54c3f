"""What was in the way of a write may be what it wrote itself, in a commit that went unanswered."""

import asyncio

import pytest

from fanfold.app.intake.certainty import with_certainty
from fanfold.ledger.database import UniqueViolation
from fanfold.ledger.uploads import UploadGone


async def refused(error: Exception) -> bool:
    raise error


@pytest.mark.parametrize("error", [UniqueViolation("jobs_pkey"), UploadGone()])
def test_a_write_that_meets_its_own_rows_was_written(error: Exception) -> None:
    async def is_written() -> bool:
        return True

    asyncio.run(with_certainty(refused(error), is_written, if_unknown=""))


@pytest.mark.parametrize("error", [UniqueViolation("jobs_pkey"), UploadGone()])
def test_a_write_that_meets_other_rows_was_not(error: Exception) -> None:
    async def is_written() -> bool:
        return False

    with pytest.raises(type(error)):
        asyncio.run(with_certainty(refused(error), is_written, if_unknown=""))
