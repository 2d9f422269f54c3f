"""The databases behind the port `ledger.database`: one module each."""
