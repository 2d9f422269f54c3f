"""The databases behind the port `fanfold.ledger.database`: one module each."""
