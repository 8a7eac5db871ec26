"""The worker's control API: a small HTTP/1.1 server, used through the API server's pod proxy or from the lab."""
