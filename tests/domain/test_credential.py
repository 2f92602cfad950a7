"""Credentials: which names and values there can be, and what a .env file says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdev_cli.domain.credential import VALUE_MAX, credential_name, credential_value, parse_env
from rdev_cli.domain.errors import Invalid


@pytest.mark.parametrize("name", ["A", "ANTHROPIC_API_KEY", "A1_", "A" * 64])
def test_a_name_is_a_variable_in_capitals(name: str) -> None:
    assert credential_name(name) == name


@pytest.mark.parametrize("name", ["", "a", "1A", "_A", "A-B", "A B", "A" * 65, "A\n", "Ä", "A=1", "../A"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(Invalid) as refused:
        credential_name(name)
    assert refused.value.code == "INVALID_NAME"


@pytest.mark.parametrize(
    ("data", "value"),
    [(b"x", "x"), (b"x\n", "x"), (b"x\r\n", "x"), (b"x\n\n", "x\n"), (b" x ", " x "), (b"a\nb\n", "a\nb"), ("ü".encode(), "ü")],
)
def test_a_value_loses_one_newline_at_its_end_and_nothing_else(data: bytes, value: str) -> None:
    assert credential_value(data).reveal() == value


@pytest.mark.parametrize("data", [b"", b"\n", b"canary\0", b"canary\xff", b"canary" * VALUE_MAX])
def test_a_value_that_no_variable_can_hold_is_refused_and_not_repeated(data: bytes) -> None:
    with pytest.raises(Invalid) as refused:
        credential_value(data)
    assert "canary" not in repr([refused.value, refused.value.hint, refused.value.context, refused.value.__cause__])


def test_a_value_may_be_64_kib_long() -> None:
    assert len(credential_value(b"x" * VALUE_MAX + b"\n").reveal()) == VALUE_MAX
    with pytest.raises(Invalid):
        credential_value(b"x" * (VALUE_MAX + 1))


def test_a_file_is_read_as_env_files_are() -> None:
    text = (
        "\ufeff# a comment\n\nA=1\nexport B=two words # and a comment\r\n  C = 'it is $HOME # here' # so\n"
        'D="a\\n\\"b\\" \\\\ \\$x"\nE=with=equals#no-comment\nF="# no comment"\n'
    )
    found = {name: value.reveal() for name, value in parse_env(text.encode()).items()}
    assert found == {
        "A": "1", "B": "two words", "C": "it is $HOME # here", "D": 'a\n"b" \\ $x', "E": "with=equals#no-comment", "F": "# no comment",
    }  # fmt: skip


@pytest.mark.parametrize(
    "line",
    ["canary", "canary=1", "A='canary", 'A="canary" more', "A=", "A=''", "A=canary\nA=canary", "A=canary\0", "=canary", "A canary=1"],
)
def test_a_wrong_line_is_named_and_never_shown(line: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_env(b"OK=1\n" + line.encode() + b"\n")
    assert refused.value.context["line"] in (2, 3)
    assert f"line {refused.value.context['line']}: " in refused.value.message
    assert "canary" not in repr([refused.value, refused.value.hint, refused.value.context])


@pytest.mark.parametrize("data", [b"", b"# nothing\n", b"\xff\xfe", b"A=1\n" * (1 << 19)])
def test_a_file_without_credentials_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        parse_env(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_credentials_or_a_refusal(data: bytes) -> None:
    try:
        assert all(credential_name(name) and value.reveal() for name, value in parse_env(data).items())
    except Invalid:
        pass
