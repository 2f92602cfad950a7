"""The secret scan: what it finds, what it leaves alone, and that it never says what it found."""

import base64
import random
import string
import time

import pytest

from rdev_cli.domain.errors import Conflict
from rdev_cli.ops import scanning

_DRAW = random.Random(7)


def _drawn(count: int, letters: str = string.ascii_letters + string.digits) -> str:
    return "".join(_DRAW.choice(letters) for _ in range(count))


_HEX = "0123456789abcdef"
_LOWER = string.ascii_lowercase + string.digits
# put together here: a file that held one whole would be refused itself
SECRETS = {
    "a private key": "-----BEGIN " + "RSA PRIVATE KEY-----\n" + base64.b64encode(_DRAW.randbytes(48)).decode() + "\n",
    "a private key in one line": '"-----BEGIN ' + "PRIVATE KEY-----\\n" + base64.b64encode(_DRAW.randbytes(48)).decode() + '\\n"',
    "an OpenSSH key": "-----BEGIN " + "OPENSSH PRIVATE KEY-----\n" + base64.b64encode(_DRAW.randbytes(60)).decode(),
    "a PGP key": "-----BEGIN " + "PGP PRIVATE KEY BLOCK-----\nVersion: 1\n\n" + base64.b64encode(_DRAW.randbytes(60)).decode(),
    "an rdev key": "rdev_" + f"sk_{_drawn(8, _LOWER)}_{_drawn(32, _HEX)}",
    "an Anthropic key": "sk-" + f"ant-api03-{_drawn(40)}",
    "an OpenAI key": "sk-" + f"proj-{_drawn(20)}T3Blbk" + f"FJ{_drawn(20)}",
    "a GitHub token": "gh" + f"p_{_drawn(36)}",
    "a fine-grained GitHub token": "github_" + f"pat_{_drawn(82)}",
    "a GitLab token": "gl" + f"pat-{_drawn(20)}",
    "a Gitea token": "GITEA_TO" + f"KEN={_drawn(40, _HEX)}",
    "an AWS key": "AK" + f"IA{_drawn(16, string.ascii_uppercase)}",
    "a Google key": "AI" + f"za{_drawn(35)}",
    "a Slack token": "xo" + f"xb-1{_drawn(30, _LOWER)}",
    "a Stripe key": "sk_" + f"live_{_drawn(24)}",
    "an npm token": "npm" + f"_{_drawn(36)}",
    "a PyPI token": "pypi" + f"-AgEI{_drawn(60)}",
    "a Hugging Face token": "hf" + f"_{_drawn(34)}",
    "a webhook's secret": "whs" + f"ec_{_drawn(44)}",
    "a value behind a name": f'API_KEY = "{_drawn(32)}"',
    "a value in YAML": f"client_secret: {_drawn(40)}",
    "a value in JSON": f'{{"password": "{_drawn(24)}9"}}',
    "a password in a URL": f"postgres://shop:{_drawn(16)}7@db.internal/shop",
}
INNOCENT = (
    "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n",
    "a header such as -----BEGIN " + "PRIVATE KEY----- stands before a key",
    'API_KEY = os.environ["API_KEY"]',
    'password = "correct-horse-battery-staple"',
    "token: ${{ secrets.GITHUB_TOKEN }}",
    'password: "changeme-changeme-changeme1"',
    "secret_key = settings.secret_key_for_environment_2",
    "AWS_ACCESS_KEY_ID=AK" + "IAIOSFODNN7EXAMPLE",
    "postgres://user:password@localhost/db",
    "postgres://user:${DB_PASSWORD}@localhost/db",
    f'"integrity": "sha512-{base64.b64encode(bytes(range(64))).decode()}"',
    f"commit {'a1b2c3d4' * 5}",
    "const tokenizer = createTokenizerForLanguage2(options)",
    "primary_key = 'user_id_and_order_number_1'",
    f"public_key: {base64.b64encode(bytes(range(32))).decode()}",
    "password=xxxxxxxxxxxxxxxxxxxxxxxx1",
)


def _found(text: str, **given: object) -> tuple[scanning.Hit, ...]:
    data = text.encode()
    return scanning.scan([("src/x.txt", len(data), data)], **given)[0]


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_found_by_its_file_and_line(name):
    found = _found(f"one\ntwo\n{SECRETS[name]}\nfour\n")
    assert [(hit.file, hit.line) for hit in found] == [("src/x.txt", 3)], found


@pytest.mark.parametrize("text", INNOCENT)
def test_what_only_looks_a_little_like_one_is_left_alone(text):
    assert _found(f"one\n{text}\nthree\n") == ()


def test_the_refusal_names_every_place_and_never_the_value():
    value = SECRETS["a GitHub token"]
    hits = _found(f"{value}\n\n{value}\n")
    assert [hit.line for hit in hits] == [1, 3]
    with pytest.raises(Conflict) as refused:
        scanning.refuse(hits, target="main")
    said = f"{refused.value.message} {refused.value.hint} {refused.value.context}"
    assert refused.value.code == "SECRET_FOUND"
    assert "src/x.txt:1 (a GitHub token)" in said
    assert "src/x.txt:3" in said
    assert value not in said
    assert value[4:] not in said


def test_a_credential_of_the_context_is_found_whatever_it_looks_like_and_wherever_it_stands():
    own = b"correct horse battery"
    data = b"\0\1" + own + b"\xff"
    hits, _ = scanning.scan([("logo.png", len(data), data)], own=[own], allowed=["logo.png"])
    assert [hit.kind for hit in hits] == ["the value of a credential of this context"]


def test_what_the_target_allows_or_had_already_is_none():
    text = SECRETS["an rdev key"]
    assert _found(text, allowed=["src/*.txt"]) == ()
    assert _found(text, allowed=["src/"]) == ()
    assert _found(text, allowed=["other/*"]) != ()
    assert _found(f"{text}\nnew line\n", before=lambda _: f"old\n{text}\n".encode()) == ()
    assert _found(f"{text}\n{SECRETS['a GitHub token']}\n", before=lambda _: text.encode())[0].line == 2


def test_a_file_that_is_too_large_to_be_looked_at_whole_is_named():
    assert scanning.scan([("big.bin", 100 << 20, b"x" * 10)]) == ((), ("big.bin",))


def test_a_hostile_text_takes_no_more_time_than_its_length():
    parts = [
        b"a_token" * 20_000,
        b"a_" * 70_000,
        b"secret=" * 20_000,
        b"-----BEGIN PRIVATE KEY-----" * 5_000,
        b"://a:" * 28_000,
        b"sk-" * 50_000,
    ]
    for part in parts:
        began = time.process_time()
        scanning.scan([("x", len(part), part)])
        assert time.process_time() - began < 5, part[:20]
