"""The part of the lab that runs below the API: namespaces, processes and rules, in processes of their own.

Of it the hazd process imports `wire` and the exit codes of `attempt` only; nothing here knows of pods' specs or of control loops.
"""
