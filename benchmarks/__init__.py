"""Measures the rates the README names: `make bench`."""
