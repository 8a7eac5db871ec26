"""Open-loop traffic: when to send (pacer), how to send (senders), what to keep of it (ledger), the process (worker).

Runs in the worker's container, where only anyio, httpx, uvloop and NumPy are to be had beside the standard library;
knows nothing of clusters, scenarios or verdicts.
"""
