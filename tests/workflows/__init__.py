"""The workflows, run by real workers on a real Temporal, over a real ledger."""
