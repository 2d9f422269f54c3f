"""Everything on one machine, as real processes: for `fanfold up`, the demo, tests, benchmarks.

`stack` supervises the processes; `running` starts a stack from outside and stops it.
Starts gateway and workers as commands, so it imports neither.
"""
