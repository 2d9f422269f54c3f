"""What the gateway asks of Temporal besides starting jobs: how it asks, and schedules.

Imports `contract`.
"""
