"""One suite over hazd/cluster/port.py: whatever passes it may stand behind `--cluster`."""
