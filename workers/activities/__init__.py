"""The activities: everything a workflow does to the outside, as bound methods.

Their dependencies are given to their classes in `fanfold.workers.main`.
"""
