"""The server everything is measured against: nginx with one worker on its own core, answering three bytes."""

from __future__ import annotations

import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.traffic.place import find, pin_server

KEEP, CLOSE, COUNT = 18080, 18081, 18082
CONFIG = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr crit; worker_rlimit_nofile 65536;
events {{ worker_connections 16384; multi_accept on; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 75s;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{ listen 127.0.0.1:{keep} backlog=8192; location / {{ add_header X-Hazd-Pod app-1; return 200 "ok\\n"; }} }}
  server {{ listen 127.0.0.1:{close} backlog=8192; keepalive_timeout 0;
    location / {{ add_header X-Hazd-Pod app-1; return 200 "ok\\n"; }} }}
  server {{ listen 127.0.0.1:{count}; location / {{ stub_status; }} }}
}}
"""


class Nginx:
    """A context manager. url(new): the port that closes after each answer, or the one that keeps connections."""

    def __enter__(self) -> Self:
        nginx = find("nginx") or "/usr/sbin/nginx"
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        config = folder / "nginx.conf"
        config.write_text(CONFIG.format(folder=folder, keep=KEEP, close=CLOSE, count=COUNT))
        self._process = subprocess.Popen([nginx, "-c", str(config), "-p", str(folder)], preexec_fn=pin_server)
        for _ in range(100):
            try:
                self.requests()
                return self
            except OSError:
                time.sleep(0.05)
        self.__exit__(None, None, None)
        raise RuntimeError("nginx does not answer")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()

    @staticmethod
    def url(new: bool) -> str:
        return f"http://127.0.0.1:{CLOSE if new else KEEP}/"

    @staticmethod
    def requests() -> int:
        """How many requests nginx has served in all, this one not counted."""
        with urllib.request.urlopen(f"http://127.0.0.1:{COUNT}/", timeout=5) as answer:
            return int(answer.read().split()[9]) - 1
