"""The part of the lab that runs below the API: namespaces, processes and rules, in processes of their own.

Nothing here is imported by the hazd process except `wire`; nothing here knows of pods' specs or of control loops.
"""
