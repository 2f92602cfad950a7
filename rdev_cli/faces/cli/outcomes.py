"""How a person sees what became of a check-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rdev_cli.domain.review import Checkin, Finding


def checkin(value: Checkin) -> list[tuple[str, str]]:
    """Return the facts of a check-in."""
    pull = value.pull
    state = f"{pull.number} ({pull.state}){f' {pull.url}' if pull.url else ''}" if pull else "none"
    return [
        ("project", value.project), ("session", value.session), ("checkout", value.checkout), ("branch", value.branch),
        ("target", value.target), ("commit", value.commit[:10]), ("pull request", state),
        ("review", value.verdict.value if value.verdict else ""), ("receipt", value.receipt), ("merged", value.merged[:10]),
        ("credential", "revoked" if value.revoked else ""),
        *(("" if at else "findings", finding(one)) for at, one in enumerate(value.findings)),
    ]  # fmt: skip


def finding(one: Finding) -> str:
    """Return a finding in a line."""
    where = f"{one.file}{f':{one.line}' if one.line else ''}: " if one.file else ""
    return f"{one.severity.value}: {where}{one.message}"
