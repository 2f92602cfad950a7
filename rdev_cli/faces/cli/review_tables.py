"""Receipts and what running them again came to, for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rdev_cli.domain.values import spoken
from rdev_cli.faces.cli.checking import came_to, first
from rdev_cli.faces.cli.tables import ago

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rdev_cli.domain.review import Checkin, CheckRun, Finding, Receipt, Replay, ReplayedRun

    Pairs = list[tuple[str, str]]


def _run(run: CheckRun) -> str:
    kept = f" ({run.command})" if run.command else ""
    named = run.step if run.step == first(run.line) else f"{run.step}: {first(run.line)}"
    return f"{named}: {came_to(run)}{kept}"


def _finding(one: Finding) -> str:
    where = f"{one.file}{f':{one.line}' if one.line else ''}: " if one.file else ""
    return f"{one.severity.value} ({one.source}): {where}{one.message}"


def _several(name: str, lines: Sequence[str]) -> Pairs:
    return [("" if at else name, line) for at, line in enumerate(lines)]


def _receipt(value: Receipt) -> Pairs:
    tokens = f", {value.input_tokens} tokens in, {value.output_tokens} out" if value.input_tokens or value.output_tokens else ""
    return [
        ("id", value.id), ("project", value.project), ("session", value.session), ("checkout", value.checkout),
        ("verdict", value.verdict.value), ("branch", f"{value.branch} -> {value.target}"), ("base", value.base), ("commit", value.commit),
        ("tree", value.tree), ("diff", f"sha256 {value.diff_sha256}" if value.diff_sha256 else ""), ("image", value.image),
        *_several("checks", [_run(one) for one in value.checks] or ["none"]),
        *_several("findings", [_finding(one) for one in value.findings]),
        ("agent", f"{value.agent} {value.model}{tokens}" if value.agent else ""), ("by", value.actor), ("written", ago(value.created_at)),
        ("signed by", f"ed25519 {value.signer}"), ("signature", value.signature),
    ]  # fmt: skip


def _again(run: ReplayedRun) -> str:
    now = run.reason or f"exit code {run.replayed}"
    was = "no exit code" if run.recorded is None else f"exit code {run.recorded}"
    end = f"{now}, as in the receipt" if run.equal else f"{now}, and the receipt says {was}"
    return f"{run.step}: {end}; stdout {run.stdout}, stderr {run.stderr} ({run.command})"


def _replay(value: Replay) -> Pairs:
    return [
        ("receipt", value.receipt), ("project", value.project), ("commit", value.commit), ("verdict", value.verdict.value),
        ("tree", value.tree), ("image", value.image), *_several("commands", [_again(run) for run in value.runs]),
        ("took", spoken(value.duration_ms / 1000)),
    ]  # fmt: skip


def _checkin(value: Checkin) -> Pairs:
    pull = value.pull
    state = f"{pull.number}, {pull.state}{f', {pull.url}' if pull.url else ''}" if pull else "none"
    return [
        ("project", value.project), ("session", value.session), ("checkout", value.checkout), ("branch", f"{value.branch} -> {value.target}"),
        ("commit", value.commit), ("pull request", state), ("review", value.verdict.value if value.verdict else "none"),
        *_several("findings", [_finding(one) for one in value.findings]), ("receipt", value.receipt), ("merged", value.merged),
        ("credential", "revoked" if value.revoked else ""),
    ]  # fmt: skip


CARDS: Mapping[str, Callable[[Any], Pairs]] = {"Receipt": _receipt, "Replay": _replay, "Checkin": _checkin}
COLUMNS: Mapping[str, Sequence[tuple[str, bool, Callable[[Any], str]]]] = {
    "Receipt": (
        ("ID", False, lambda r: r.id),
        ("VERDICT", False, lambda r: r.verdict.value),
        ("COMMIT", False, lambda r: r.commit[:10]),
        ("BRANCH", False, lambda r: r.branch),
        ("TARGET", False, lambda r: r.target),
        ("CHECKS", False, lambda r: str(len(r.checks))),
        ("WRITTEN", False, lambda r: ago(r.created_at)),
        ("BY", True, lambda r: r.actor),
        ("TREE", True, lambda r: r.tree),
    )
}
