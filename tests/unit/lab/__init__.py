"""The lab without a kernel: its store, rules and control loops, in virtual time where time matters."""
