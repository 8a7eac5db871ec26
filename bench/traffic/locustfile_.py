"""What locust runs: FastHttpUser, its quicker client, without any pause. The server decides who closes."""

# mypy: ignore-errors
from __future__ import annotations

from locust import FastHttpUser, task


class Again(FastHttpUser):
    """One of 64 users."""

    @task
    def get(self) -> None:
        self.client.get("/")
