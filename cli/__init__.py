"""The command line: `fanfold up | demo | gateway | worker | submit | watch | ...`.

A composition root: each command imports what it needs when it is called, so that
submitting a job loads no server. `main.py` puts the commands of `jobs.py`, `trees.py`,
`submitting.py`, `outcomes.py` and `catalog.py` together; what people see is in `output.py` and
`tables.py`.
"""
