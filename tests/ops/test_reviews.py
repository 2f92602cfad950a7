"""What an agent's answer to a review means: its findings, or nothing at all, which is no pass."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdev_cli.domain.review import Severity
from rdev_cli.ops.reviews import FINDINGS, WORDS, findings


def _answer(document: object, before: str = "I looked.\n\n", after: str = "\n") -> str:
    return f"{before}```json\n{json.dumps(document)}\n```{after}"


def test_an_answer_without_findings_is_one_that_found_nothing():
    assert findings(_answer({"findings": []})) == ()


def test_findings_have_a_severity_a_place_and_words():
    listed = [
        {"severity": "error", "file": "src/a.py", "line": 3, "message": " wrong "},
        {"severity": "warning", "file": "src/b.py", "message": "slow"},
        {"severity": "note", "message": "long" * WORDS, "file": None, "line": None, "more": "is not read"},
    ]
    found = findings(_answer({"findings": listed}))
    assert [(one.severity, one.source, one.file, one.line) for one in found] == [
        (Severity.ERROR, "agent", "src/a.py", 3), (Severity.WARNING, "agent", "src/b.py", 0), (Severity.NOTE, "agent", "", 0),
    ]  # fmt: skip
    assert found[0].message == "wrong"
    assert len(found[2].message) == WORDS


def test_the_last_block_counts_and_its_line_ends_do_not():
    answer = _answer({"findings": []}) + _answer({"findings": [{"severity": "error", "message": "no"}]}).replace("\n", "\r\n")
    assert [one.message for one in findings(answer)] == ["no"]


def test_half_a_surrogate_pair_is_no_trouble():
    (one,) = findings('```json\n{"findings": [{"severity": "note", "message": "\\ud83d", "file": "\\ud83d"}]}\n```')
    assert (one.message + one.file).encode()


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "all is well",
        '{"findings": []}',
        "```\n{}\n```",
        "```json\nnothing\n```",
        "```json\n[]\n```",
        "```json\n" + "[" * 100_000 + "\n```",
        _answer({}),
        _answer({"findings": {}}),
        _answer({"findings": ["bad"]}),
        _answer({"findings": [{"severity": "fatal", "message": "x"}]}),
        _answer({"findings": [{"severity": ["error"], "message": "x"}]}),
        _answer({"findings": [{"severity": "error"}]}),
        _answer({"findings": [{"severity": "error", "message": " "}]}),
        _answer({"findings": [{"severity": "error", "message": 7}]}),
        _answer({"findings": [{"severity": "error", "message": "x", "line": "3"}]}),
        _answer({"findings": [{"severity": "error", "message": "x", "line": True}]}),
        _answer({"findings": [{"severity": "error", "message": "x", "line": -1}]}),
        _answer({"findings": [{"severity": "error", "message": "x", "file": 1}]}),
        _answer({"findings": [{"severity": "note", "message": "x"}] * (FINDINGS + 1)}),
        _answer({"findings": []}) + _answer("and then"),
    ],
)
def test_what_is_not_as_it_was_asked_for_is_no_answer(answer):
    with pytest.raises(ValueError, match=r"^(there|its|it has|finding)"):
        findings(answer)


@given(st.text(alphabet='`json\n{}[]":, findgserovty01\\u'))
def test_nothing_but_a_value_error_comes_of_any_text(answer):
    try:
        findings(answer)
    except ValueError:
        pass
