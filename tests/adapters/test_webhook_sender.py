"""One message on its way: what an endpoint may do to whoever sends, and who it must be. T-WH-2, T-WH-3, T-WH-6, T-WH-7."""

import gzip
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks import Webhook as Reference
from standardwebhooks import WebhookVerificationError

from rdev_cli.adapters.webhooks import sender as module
from rdev_cli.adapters.webhooks.policy import Policy, networks
from rdev_cli.adapters.webhooks.sender import ANSWER_MAX, HttpSender
from rdev_cli.domain.errors import Cancelled
from rdev_cli.domain.values import Secret
from rdev_cli.domain.webhook import ANSWER_KEPT, Outcome
from rdev_cli.ports.timing import Stop
from tests.support.receiver import Answer, Receiver, reply

OLD, NEW = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), Secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
BODY = '{"data":{"subject":"shop"},"timestamp":"2026-01-02T03:04:05.000Z","type":"project.created"}'
HERE = networks("127.0.0.0/8")

Make = Callable[..., Receiver]


@pytest.fixture
def receiver() -> Iterator[Make]:
    made: list[Receiver] = []

    def make(answer: Answer | None = None, status: int = 200, wrap: Callable[[Any], Any] | None = None) -> Receiver:
        made.append(Receiver(answer, status, wrap))
        return made[-1]

    yield make
    for one in made:
        one.close()


def sent(
    url: str, *, secrets: tuple[Secret, ...] = (NEW,), at: datetime | None = None, stop: Stop | None = None, policy: Policy | None = None
) -> Outcome:
    at = at or datetime.now(UTC)
    return HttpSender(policy or Policy(HERE)).send(url, id="dlv_1", body=BODY, secrets=secrets, at=at, stop=stop or Stop())


def test_t_wh_7_a_message_is_what_the_reference_library_verifies_whatever_zone_the_time_is_in(receiver: Make) -> None:
    one = receiver()
    for zone in (UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-11))):
        outcome = sent(one.url, at=datetime.now(zone))
        assert (outcome.status, outcome.error) == (200, "")
        headers, body = one.messages[-1]
        assert Reference(NEW.reveal()).verify(body, dict(headers)) == json.loads(BODY)
        assert headers["webhook-id"] == "dlv_1"
        assert (headers["content-type"], "accept-encoding" in headers, "authorization" in headers) == ("application/json", False, False)


def test_t_wh_6_while_two_secrets_sign_a_receiver_with_either_verifies(receiver: Make) -> None:
    one = receiver()
    sent(one.url, secrets=(NEW, OLD))
    sent(one.url, secrets=(NEW,))
    (both, body), (alone, _) = one.messages
    for secret in (NEW, OLD):
        assert Reference(secret.reveal()).verify(body, dict(both))
    Reference(NEW.reveal()).verify(body, dict(alone))
    with pytest.raises(WebhookVerificationError):
        Reference(OLD.reveal()).verify(body, dict(alone))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_t_wh_3_a_redirect_is_a_failure_and_not_followed(status: int, receiver: Make) -> None:
    other = receiver()
    one = receiver(lambda headers, body, handler: reply(handler, status, headers={"location": other.url}))
    outcome = sent(one.url)
    assert outcome.status == status
    assert "redirect" in outcome.error
    assert (len(one.messages), other.messages) == (1, [])


@pytest.mark.parametrize(
    ("status", "good"), [(200, True), (204, True), (299, True), (400, False), (404, False), (410, False), (500, False)]
)
def test_t_wh_4_only_a_2xx_is_good(status: int, good: bool, receiver: Make) -> None:
    outcome = sent(receiver(status=status).url)
    assert (outcome.status, outcome.error == "") == (status, good)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [("120", 120, 120), ("999999999999999999", 1e9, 1e13), ("soon", None, None), ("-5", None, None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0), ("", None, None)],
)  # fmt: skip
def test_t_wh_4_retry_after_is_read_as_seconds_or_as_a_date(value: str, least: float | None, most: float | None, receiver: Make) -> None:
    one = receiver(lambda headers, body, handler: reply(handler, 429, headers={"retry-after": value}))
    asked = sent(one.url).retry_after
    if least is None or most is None:
        assert asked is None
    else:
        assert asked is not None
        assert least <= asked <= most


def test_t_wh_4_a_retry_after_of_ten_years_is_read_and_that_of_a_500_is_not(receiver: Make) -> None:
    when = (datetime.now(UTC) + timedelta(days=3650)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    statuses = iter((503, 500))
    one = receiver(lambda headers, body, handler: reply(handler, next(statuses), headers={"retry-after": when}))
    first, second = sent(one.url), sent(one.url)
    assert first.retry_after is not None
    assert first.retry_after > 3600 * 24 * 3640
    assert second.retry_after is None


def drip(headers: Mapping[str, str], body: bytes, handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    for _ in range(200):
        handler.wfile.write(b"x")
        time.sleep(0.05)


def drip_head(headers: Mapping[str, str], body: bytes, handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(200):
        handler.wfile.write(f"x-{number}: y\r\n".encode())
        time.sleep(0.05)


def silent(headers: Mapping[str, str], body: bytes, handler: Any) -> None:
    time.sleep(10)


@pytest.mark.parametrize("answer", [drip, drip_head, silent])
def test_t_wh_3_an_answer_that_drips_or_never_comes_ends_with_the_whole_time(
    answer: Answer, receiver: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOTAL", 1.0)
    outcome = sent(receiver(answer).url)
    assert "no whole answer in 1 seconds" in outcome.error
    assert 900 <= outcome.duration_ms < 8000


def test_t_wh_3_of_an_endless_answer_64_kib_are_read_and_headers_without_end_are_an_error(receiver: Make) -> None:
    written = [0]

    def endless(headers: Mapping[str, str], body: bytes, handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n")
        for _ in range(16384):
            handler.wfile.write(b"x" * 65536)
            written[0] += 65536

    def many(headers: Mapping[str, str], body: bytes, handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(1000000):
            handler.wfile.write(f"x-{number}: {'y' * 100}\r\n".encode())

    outcome = sent(receiver(endless).url)
    assert (outcome.status, outcome.error) == (200, "")
    assert len(outcome.answer) == ANSWER_KEPT
    assert written[0] < 100 * ANSWER_MAX
    assert sent(receiver(many).url).error


def test_t_wh_3_a_compressed_answer_stays_what_it_is(receiver: Make) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    outcome = sent(receiver(lambda headers, body, handler: reply(handler, 200, bomb, {"content-encoding": "gzip"})).url)
    assert (outcome.status, outcome.error) == (200, "")
    assert len(outcome.answer) <= ANSWER_KEPT


def test_t_wh_4_a_connection_that_is_cut_or_refused_is_a_failure_with_words(receiver: Make) -> None:
    def cut(headers: Mapping[str, str], body: bytes, handler: Any) -> None:
        handler.connection.shutdown(2)

    one = receiver(cut)
    assert sent(one.url).error
    gone = receiver()
    gone.close()
    outcome = sent(gone.url)
    assert outcome.status is None
    assert "refused" in outcome.error.lower()


def test_what_an_endpoint_echoes_of_the_signature_is_not_kept(receiver: Make) -> None:
    one = receiver(lambda headers, body, handler: reply(handler, 400, f"{headers['webhook-signature']} {NEW.reveal()} no".encode()))
    outcome = sent(one.url)
    assert outcome.answer == "••• ••• no"


def test_a_proxy_and_a_login_of_the_environment_are_nothing_to_it(receiver: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other, one = receiver(), receiver()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, other.url)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sent(one.url).status == 200
    assert other.messages == []
    assert "authorization" not in one.messages[0][0]


def test_a_stop_ends_a_message_on_its_way(receiver: Make) -> None:
    stop = Stop()

    def stopping(headers: Mapping[str, str], body: bytes, handler: Any) -> None:
        stop.set("cancelled")
        time.sleep(3)

    begun = time.monotonic()
    with pytest.raises(Cancelled):
        sent(receiver(stopping).url, stop=stop)
    assert time.monotonic() - begun < module.TOTAL / 2


def certified(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate for a name, signed by itself; return its file and that of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return certificate, private


def test_t_wh_2_the_certificate_and_the_name_asked_for_are_those_of_the_url_not_of_the_address(
    receiver: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate, private = certified(tmp_path, "hooks.example.com")
    names: list[str | None] = []
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, private)
    server.sni_callback = lambda socket, name, context: names.append(name)
    # the handshake is done by the first read, so that a failed one ends its connection and not the server
    one = receiver(wrap=lambda listening: server.wrap_socket(listening, server_side=True, do_handshake_on_connect=False))
    policy = Policy(HERE, resolve=lambda host, port: ["127.0.0.1"])
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    outcome = sent(f"https://hooks.example.com:{one.port}/hook", policy=policy)
    assert (outcome.status, outcome.error) == (200, "")
    assert one.messages[0][0]["host"] == f"hooks.example.com:{one.port}"
    wrong = sent(f"https://other.example.com:{one.port}/hook", policy=policy)
    assert wrong.status is None
    assert "certificate" in wrong.error
    assert names == ["hooks.example.com", "other.example.com"]
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "certificate" in sent(f"https://hooks.example.com:{one.port}/hook", policy=policy).error
    assert len(one.messages) == 1


def test_senders_share_nothing_that_two_threads_would_spoil(receiver: Make) -> None:
    one = receiver()
    shared = HttpSender(Policy(HERE))
    found: list[Outcome] = []

    def send(number: int) -> None:
        found.append(shared.send(one.url, id=f"dlv_{number}", body=BODY, secrets=[NEW], at=datetime.now(UTC), stop=Stop()))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [outcome.error for outcome in found] == [""] * 30
    assert sorted(one.ids()) == sorted(f"dlv_{number}" for number in range(30))
