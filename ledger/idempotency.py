"""Idempotency keys: a key stands for one request and its body."""

from fanfold.contract.names import JobId, TenantId
from fanfold.ledger.database import Database
from fanfold.ledger.records import IdempotencyKey


class KeyTaken(Exception):
    """The idempotency key belongs to another job already, which is named."""

    def __init__(self, job_id: JobId, body_hash: bytes) -> None:
        """Keep the job that has the key, and the hash of the body it came with."""
        super().__init__(job_id)
        self.job_id = job_id
        self.body_hash = body_hash


async def raise_key_taken(database: Database, tenant: TenantId, key: IdempotencyKey) -> None:
    """Raise KeyTaken if the key stands for a request already."""
    rows = await database.read(
        "SELECT job_id, body_hash FROM idempotency_keys WHERE tenant = ? AND name = ?",
        (tenant, key.key),
    )
    for job_id, body_hash in rows:
        raise KeyTaken(job_id, bytes(body_hash)) from None
