"""One message to one endpoint: signed, sent to an address that was checked, bounded in time and in what is read."""

import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property

import httpcore
from standardwebhooks import Webhook as Signer

from rdev_cli import __version__
from rdev_cli.adapters.webhooks.policy import Policy, Target, parsed
from rdev_cli.domain.errors import Cancelled, RdevError
from rdev_cli.domain.values import Secret
from rdev_cli.domain.webhook import ANSWER_KEPT, Outcome
from rdev_cli.ports.timing import Stop

TOTAL = 20.0  # seconds for all of it, from the name's look-up to the last byte that is read
ANSWER_MAX = 1 << 16  # bytes of an answer that are read
_SLICE = 0.25  # seconds after which whoever waits looks whether to stop


class _Stream(httpcore.NetworkStream):
    """A connection with one end for everything that is done on it: many small steps take no longer than a large one."""

    def __init__(self, inner: httpcore.NetworkStream, end: float, stop: Stop) -> None:
        self._inner, self._end, self._stop = inner, end, stop

    def _left(self, timeout: type[Exception]) -> float:
        self._stop.check("the delivery")
        left = self._end - time.monotonic()
        if left <= 0:
            raise timeout("its time was over")
        return left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 -- the end is what counts
        while True:
            left = self._left(httpcore.ReadTimeout)
            try:
                return self._inner.read(max_bytes, min(left, _SLICE))
            except httpcore.ReadTimeout:
                continue

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 -- the end is what counts
        self._inner.write(buffer, self._left(httpcore.WriteTimeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None  # noqa: ARG002
    ) -> httpcore.NetworkStream:  # fmt: skip
        secure = self._inner.start_tls(ssl_context, server_hostname, self._left(httpcore.ConnectTimeout))
        return _Stream(secure, self._end, self._stop)

    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)

    def close(self) -> None:
        self._inner.close()


class _Backend(httpcore.NetworkBackend):
    """Connects to the addresses that were checked, whatever the name."""

    def __init__(self, addresses: Sequence[str], end: float, stop: Stop) -> None:
        self._addresses, self._end, self._stop = addresses, end, stop

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,  # noqa: ARG002 -- the library's shape
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:  # fmt: skip
        failed: Exception | None = None
        for address in self._addresses[:3]:
            self._stop.check("the delivery")
            left = self._end - time.monotonic()
            if left <= 0:
                break
            try:
                return _Stream(httpcore.SyncBackend().connect_tcp(address, port, min(left, 5.0)), self._end, self._stop)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as e:
                failed = e
        raise failed or httpcore.ConnectTimeout("its time was over")


class HttpSender:
    """Sends by HTTP/1.1 and nothing around it: no proxy and no login of the environment, no redirect, no decompression."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    def send(self, url: str, *, id: str, body: str, secrets: Sequence[Secret], at: datetime, stop: Stop) -> Outcome:
        begin = time.monotonic()
        signatures = " ".join(Signer(secret.reveal()).sign(id, at.astimezone(UTC), body) for secret in secrets)
        headers: dict[bytes | str, bytes | str] = {
            "content-type": "application/json",
            "user-agent": f"rdev/{__version__}",
            "webhook-id": id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": signatures,
        }
        status, answer, error, retry = None, b"", "", None
        try:
            status, found, answer = self._sent(parsed(url), headers, body.encode(), begin + TOTAL, stop)
            retry = _seconds(found, at) if status in (429, 503) else None
            if not 200 <= status < 300:
                error = f"it answered {status}" + (", and a redirect is not followed" if 300 <= status < 400 else "")
        except Cancelled:
            raise
        except RdevError as e:
            error = e.message
        except (httpcore.TimeoutException, TimeoutError):
            error = (
                f"no whole answer in {TOTAL:.0f} seconds" if time.monotonic() - begin >= TOTAL else "it did not take a connection in time"
            )
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as e:
            error = f"{type(e).__name__}: {e}"[:200]
        words = _words(answer, [*signatures.split(), *(secret.reveal() for secret in secrets)])
        return Outcome(status=status, duration_ms=round((time.monotonic() - begin) * 1000), error=error, answer=words, retry_after=retry)

    def _sent(
        self, target: Target, headers: Mapping[bytes | str, bytes | str], body: bytes, end: float, stop: Stop
    ) -> tuple[int, Sequence[tuple[bytes, bytes]], bytes]:
        backend = _Backend(self._policy.addresses(target, stop), end, stop)
        host = f"[{target.host}]" if ":" in target.host else target.host
        where = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        default = {"https": 443, "http": 80}[target.scheme]
        headers = {"host": host if target.port == default else f"{host}:{target.port}", "content-length": str(len(body)), **headers}
        with (
            httpcore.ConnectionPool(
                ssl_context=self._tls if target.scheme == "https" else None, network_backend=backend, max_keepalive_connections=0
            ) as pool,
            pool.stream("POST", where, headers=headers, content=body) as response,
        ):
            answer = b""
            for part in response.iter_stream():
                answer += part[: ANSWER_MAX - len(answer)]
                if len(answer) >= ANSWER_MAX:
                    break  # more of it would change nothing: the status is known
            return response.status, response.headers, answer


def _seconds(headers: Sequence[tuple[bytes, bytes]], now: datetime) -> float | None:
    """Return what Retry-After asks for, None if it says nothing that can be read."""
    for name, value in headers:
        if name.lower() == b"retry-after":
            text = value.decode("ascii", "replace").strip()
            if text.isdigit():
                return float(text[:12])
            try:
                when = parsedate_to_datetime(text)
                return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - now).total_seconds())
            except (ValueError, TypeError, OverflowError):
                return None
    return None


def _words(answer: bytes, hidden: Sequence[str]) -> str:
    """Return the beginning of an answer as text, without what we sent to prove ourselves."""
    text = answer[: 4 * ANSWER_KEPT].decode("utf-8", "replace")
    for secret in hidden:
        text = text.replace(secret, "•••")
    return text[:ANSWER_KEPT]
