"""What needs nothing but Python: no Temporal, no database server, no network."""
