"""Everything that can go wrong, named once."""

from typing import Any, ClassVar


class RdevError(Exception):
    """Something rdev can explain to a person: what happened, and what to type next."""

    CODE: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, hint: str = "", code: str = "", **context: Any) -> None:
        super().__init__(message)
        self.message, self.hint, self.context = message, hint, context
        self.code = code or self.CODE


class Invalid(RdevError):
    """The request does not make sense."""

    CODE = "INVALID"


class NotFound(RdevError):
    """The thing named does not exist."""

    CODE = "NOT_FOUND"


class Denied(RdevError):
    """The caller may not do this."""

    CODE = "DENIED"


class Conflict(RdevError):
    """The thing exists, but not in a state that allows this."""

    CODE = "CONFLICT"


class Unavailable(RdevError):
    """A provider, a tool or the machine did not answer, or not in time."""

    CODE = "UNAVAILABLE"


class Partial(RdevError):
    """Some steps stand; `left` names them and the hint is the command that finishes or undoes them."""

    CODE = "PARTIAL"

    def __init__(self, message: str, *, left: tuple[str, ...], hint: str = "", code: str = "", **context: Any) -> None:
        super().__init__(message, hint=hint, code=code, left=list(left), **context)
        self.left = left


class Pending(RdevError):
    """An outcome was asked for that is not there yet, or a person must act."""

    CODE = "PENDING"


class Failed(RdevError):
    """The work itself failed, not rdev."""

    CODE = "FAILED"


class OutcomeUnknown(RdevError):
    """The connection to the work was lost and could not be recovered."""

    CODE = "OUTCOME_UNKNOWN"


class TimedOut(RdevError):
    """The time limit passed."""

    CODE = "TIMED_OUT"


class Cancelled(RdevError):
    """Somebody stopped it."""

    CODE = "CANCELLED"
