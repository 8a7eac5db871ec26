"""The part of the lab that runs below the API: namespaces, processes and rules, in processes of their own.

The hazd process imports only `wire` and the exit codes of `attempt`; nothing here knows of pods' specs or of control
loops.
"""
