"""What Fanfold is compared with, each in a virtual environment of its own (`.bench-peers`).

`environment` and `running` belong to the benchmark; the other modules run in a peer's
environment, which has that peer and nothing of Fanfold's.
"""
