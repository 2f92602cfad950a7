"""A check-in: what a session or a checkout made goes back to its project, reviewed."""

from __future__ import annotations

from dataclasses import dataclass

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import id_like, shown

MESSAGE_MAX = 10_000  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckinSpec:
    """What a caller asks for: one session or one checkout, and what shall become of it."""

    session: str = ""
    checkout: str = ""
    message: str = ""  # of the commit of what is staged; its first line is the pull request's title
    merge: bool = False  # once the review has passed

    def __post_init__(self) -> None:
        if bool(self.session) == bool(self.checkout):
            raise Invalid("a check-in is of one session or one checkout", hint="rdev checkin ses_… or rdev checkin chk_…", field="session")
        if len(self.message) > MESSAGE_MAX or any((ord(c) < 32 and c not in "\n\t") or "\ud800" <= c <= "\udfff" for c in self.message):
            raise Invalid(
                f"the message '{shown(self.message)}' is not allowed", hint=f"text of at most {MESSAGE_MAX} characters", field="message"
            )

    @property
    def id(self) -> str:
        """The session's or the checkout's id, as it was given."""
        return self.session or self.checkout


def about(text: str, *, message: str = "", merge: bool = False) -> CheckinSpec:
    """Return what is asked for about a session or a checkout, whichever the id names; Invalid if it names neither."""
    for prefix, field in (("ses", "session"), ("chk", "checkout")):
        if id_like(text, prefix):
            return CheckinSpec(**{field: text}, message=message, merge=merge)
    raise Invalid(
        f"'{shown(text)}' is no id of a session or a checkout",
        hint="rdev session list and rdev checkout list show the ids: ses_…, chk_…",
        field="id",
    )
