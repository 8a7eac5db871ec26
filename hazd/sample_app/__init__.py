"""The sample app, and the manifests of what hazd itself puts into a cluster.

Importing this package must stay free: the app is started as `python3 -m hazd.sample_app.app` in a container that has
the standard library and nothing else, and its start-up time is part of what is measured.
"""
