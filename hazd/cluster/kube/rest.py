"""The wire to one API server: requests and long streams over the `kubernetes` package's own configured connections.

Blocking, and safe to use from many threads. It takes from the package what is hard (kubeconfig, credentials and their
refreshing, TLS, proxies) and nothing of its models: JSON goes in and out as it is. It never retries.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies

import urllib3
from kubernetes import client, config
from urllib3.connection import HTTPConnection

from hazd import __version__
from hazd.clock import unix_ns
from hazd.cluster.kube.errors import Unreachable, error_of, one_line
from hazd.errors import UsageError

CONNECT_S = 4.0
JSON, MERGE_PATCH, BYTES = "application/json", "application/merge-patch+json", "application/octet-stream"
POOL = 64


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response. `headers` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


def _keepalive() -> list[tuple[int, int, int]]:
    """Options by which a stream notices a peer that vanished without a word after about 10 s instead of hours."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 4), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 10_000)):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


def read_config(context: str | None, kubeconfig: str | None) -> tuple[Any, str]:
    """The client configuration of a kubeconfig context and the context's name; the kubeconfig is never written.

    kubeconfig None: $KUBECONFIG or ~/.kube/config. Raises UsageError with the contexts there are.
    """
    where = kubeconfig or "the default kubeconfig ($KUBECONFIG or ~/.kube/config)"
    hint = "`kubectl config get-contexts` lists the contexts"
    try:
        contexts, active = config.list_kube_config_contexts(kubeconfig)  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError, ValueError, TypeError) as error:
        raise UsageError(f"context {context!r}: {where} cannot be used: {one_line(str(error))}", hint) from error
    names = [str(item["name"]) for item in contexts]
    name = context if context is not None else str((active or {}).get("name", ""))
    if name not in names:
        there = f"there are: {', '.join(names)}" if names else "it has none"
        raise UsageError(f"context {name!r} is not in {where}", there)
    configuration = client.Configuration()
    try:
        config.load_kube_config(  # type: ignore[no-untyped-call]
            kubeconfig, name, client_configuration=configuration, persist_config=False
        )
    except (config.ConfigException, OSError, ValueError, KeyError) as error:
        raise UsageError(f"context {name!r} in {where} cannot be used: {one_line(str(error))}", hint) from error
    if configuration.proxy in getproxies().values() and _is_this_machine(str(configuration.host)):
        # As kubectl does (Go's ProxyFromEnvironment); a proxy that the kubeconfig itself names stays.
        configuration.proxy = None
    configuration.connection_pool_maxsize = POOL
    configuration.socket_options = [*HTTPConnection.default_socket_options, *_keepalive()]
    return configuration, name


def _is_this_machine(server: str) -> bool:
    host = urlsplit(server).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class Rest:
    """One API server as one context sees it."""

    def __init__(self, context: str | None, kubeconfig: str | None) -> None:
        self._configuration, self.context = read_config(context, kubeconfig)
        self.server = str(self._configuration.host).rstrip("/")
        self._pool = self.new_pool()

    def new_pool(self) -> urllib3.PoolManager:
        """Connections with the context's TLS, proxy and socket options."""
        pool: urllib3.PoolManager = client.ApiClient(self._configuration).rest_client.pool_manager
        return pool

    def close(self) -> None:
        self._pool.clear()

    def headers(self, content_type: str = "") -> dict[str, str]:
        """With credentials that are fresh: a token or an exec plug-in's result is renewed by the package's own hook."""
        made = {"Accept": "application/json, */*", "User-Agent": f"hazd/{__version__}"}
        for setting in self._configuration.auth_settings().values():
            if setting["in"] == "header" and setting["value"]:
                made[setting["key"]] = setting["value"]
        if content_type:
            made["Content-Type"] = content_type
        return made

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: bytes | None = None,
        content_type: str = JSON,
        timeout_s: float = 10.0,
    ) -> Response:
        """One request, one whole response, whatever its status. Raises Unreachable. timeout_s: between two bytes."""
        headers = self.headers(content_type if body is not None else "")
        timeout = urllib3.Timeout(connect=min(CONNECT_S, timeout_s), read=timeout_s)
        url = self.url(path, query)
        try:
            response = self._pool.request(
                method, url, body=body, headers=headers, timeout=timeout, retries=False, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise self.unreachable(error) from error
        return Response(response.status, {key.lower(): value for key, value in response.headers.items()}, response.data)

    def url(self, path: str, query: Mapping[str, object] | None) -> str:
        pairs = [(key, str(value)) for key, value in (query or {}).items() if value not in (None, "")]
        return f"{self.server}{path}{'?' if pairs else ''}{urlencode(pairs)}"

    def unreachable(self, error: Exception) -> Unreachable:
        """urllib3's error in one line; connection errors before the request went out are marked as not sent."""
        no_connection = isinstance(error, urllib3.exceptions.NewConnectionError)  # (it, too, is a TimeoutError there)
        not_sent = no_connection or isinstance(error, urllib3.exceptions.ConnectTimeoutError)
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        what = one_line(getattr(cause, "strerror", None) or str(cause or error))
        if isinstance(error, urllib3.exceptions.TimeoutError) and not no_connection:
            what = "timeout"
        return Unreachable(
            f"the API server of context {self.context} at {self.server} does not respond: {what}",
            "is the cluster running? `kubectl cluster-info` with the same context",
            sent=not not_sent,
        )

    def stream(self, path: str, query: Mapping[str, object], read_timeout_s: float | None) -> Stream:
        return Stream(self, path, query, read_timeout_s)


class Stream:
    """One long response, read in one thread and closed from any: close() wakes a reader that waits in the kernel.

    It has a connection of its own, so closing its socket can harm nobody else's request.
    """

    def __init__(self, rest: Rest, path: str, query: Mapping[str, object], read_timeout_s: float | None) -> None:
        self._rest = rest
        self._path = path
        self._query = query
        self._read_timeout_s = read_timeout_s
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.closed = False
        self.on_open: Callable[[], None] | None = None

    def lines(self) -> Iterator[tuple[bytes, int]]:
        """Each whole line and when its last byte arrived (ns since the Unix epoch); ends when the server ends it.

        Raises Unreachable for a broken stream, NotFound, Conflict or Refused when the server says no at once. A last
        line without a line feed is given when the server ended the stream properly. on_open is called when it stands.
        """
        pools = self._rest.new_pool()
        try:
            response = self._open(pools)
            if response.status >= 400:
                retry_after = response.headers.get("Retry-After")
                raise error_of(response.status, response.read(), f"GET {self._path}", retry_after)
            if self.on_open is not None:
                self.on_open()
            rest = b""
            for chunk in response.stream(65536, decode_content=False):
                now_ns = unix_ns()
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line, now_ns
            if rest:
                yield rest, unix_ns()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:  # ValueError: http.client on a cut header
            raise self._rest.unreachable(error) from error
        finally:
            self._forget()
            pools.clear()

    def _open(self, pools: urllib3.PoolManager) -> urllib3.BaseHTTPResponse:
        pool = pools.connection_from_url(self._rest.server)
        plain = pool.ConnectionCls
        register = self._register

        class Registered(plain):  # type: ignore[misc, valid-type]
            def connect(self) -> None:
                super().connect()
                register(self.sock)

        pool.ConnectionCls = Registered
        return pools.request(
            "GET",
            self._rest.url(self._path, self._query),
            headers=self._rest.headers(),
            timeout=urllib3.Timeout(connect=CONNECT_S, read=self._read_timeout_s),
            retries=False,
            redirect=False,
            preload_content=False,
        )

    def _register(self, sock: socket.socket) -> None:
        with self._lock:
            self._socket = sock
            if self.closed:
                _shut(sock)

    def _forget(self) -> None:
        with self._lock:
            self._socket = None

    def close(self) -> None:
        """End the stream now; the reading thread gets an end or an error. Safe to call twice and from any thread."""
        with self._lock:
            self.closed = True
            if self._socket is not None:
                _shut(self._socket)


def _shut(sock: socket.socket) -> None:
    """Shut the TCP connection itself; SSLSocket.shutdown would pull the TLS state away under the reader."""
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except (OSError, TypeError):
        return


__all__ = ["BYTES", "JSON", "MERGE_PATCH", "Response", "Rest", "Stream", "read_config"]
