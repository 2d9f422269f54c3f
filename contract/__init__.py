"""What every part of Fanfold agrees on: names, ids, states, wire types, settings, words.

The bottom of the project: it imports nothing of ours, so every other package may
import it. Only `fanfold.contract.temporal`, `fanfold.contract.settings` and
`fanfold.contract.pydantic_faults` import third-party code; the rest is the standard library,
so that workflow code may import it freely.
"""
