"""Committed histories, replayed through today's workflow code."""
