"""The routes: parse, call, return."""
