"""The workflows: what runs, in which order, until when. No I/O, no data, ids and counts only.

Every history ever written has to replay through this code: tests/replay holds the
committed ones, docs/howto/change-a-workflow.md says how to change it.
"""
