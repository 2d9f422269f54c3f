"""What every part of Fanfold agrees on: names, ids, states, wire types, settings.

The bottom of the project: it imports nothing of ours, so every other package may
import it. Only `fanfold.contract.temporal` and `fanfold.contract.settings` import third-party code;
the rest is the standard library, so that workflow code may import it freely.
"""
