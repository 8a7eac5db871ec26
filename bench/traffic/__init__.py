"""hazd's two senders beside the load tools people use, one core each, the server pinned to the other core.

`python -m bench.traffic` measures what it finds (bench/traffic/setup installs the rest), writes result.json and prints
the table; it claims nothing it did not measure in that run.
"""
