"""A lease: who may work on what, one at a time."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A claim on a name: valid until the database's clock says otherwise, checked by attempt on every write."""

    name: str
    owner: str
    attempt: int
