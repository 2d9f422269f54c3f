"""Whose things are: the base of all operations on what one tenant has.

Rows of `chunks`, `inputs`, `results` and `uploads` say whose they are, so a statement that
reads or writes the row itself asks the row. Where that would read rows that an index alone
answers for, or where a table does not say it, the statement asks for the job instead.
"""

from fanfold.contract.names import TenantId
from fanfold.ledger.database import Database

JOB_IS_OURS = "EXISTS (SELECT 1 FROM jobs WHERE jobs.id = ? AND jobs.tenant = ?)"
"""A condition that does not depend on the rows of its statement: it is looked up once."""

IS_IN_RUN = (
    "EXISTS (SELECT 1 FROM jobs WHERE jobs.id = ? AND jobs.run = ? AND jobs.finished_at IS NULL)"
)
"""Likewise: whoever means the chunks of one run of a job does not touch those of the next."""


_BELOW = (
    "SELECT below.id FROM jobs AS above JOIN jobs AS below "
    "ON below.root_id = COALESCE(above.root_id, above.id) "
    "AND below.position > above.position AND below.position <= above.last_position "
    "WHERE above.id = ?"
)
BELOW = f"({_BELOW})"
"""All jobs below a job, of which it is made: none of most."""
AND_BELOW = f"(SELECT CAST(? AS TEXT) UNION ALL {_BELOW})"
"""A job, and all jobs below it: takes its id twice."""


class OfTenant:
    """Operations on what one tenant has: nothing of another is found, changed or given away."""

    def __init__(self, database: Database, tenant: TenantId) -> None:
        """Work on this database, for this tenant."""
        self._database = database
        self._tenant = tenant
