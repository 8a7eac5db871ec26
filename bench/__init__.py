"""Benchmarks: each a script, its result as JSON, a table in the README or docs."""
