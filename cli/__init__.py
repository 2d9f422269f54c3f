"""The command line: `fanfold up | demo | gateway | worker | submit | watch | ...`.

A composition root: each command imports what it needs when it is called, so that
submitting a job loads no server.
"""
