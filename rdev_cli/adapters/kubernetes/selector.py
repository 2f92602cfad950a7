"""Which objects of a kind are meant: a selector that cannot be empty, because an empty one means everything."""

import re
from collections.abc import Mapping

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import shown

_KEY = re.compile(r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


class Selector:
    """Labels that must all have these values. Lists take nothing else to say which objects are meant.

    Invalid for no label at all and for a key or a value that is no label's: a comma or a bracket in one would say something else to the server,
    and the server takes an empty selector for "all that there is".
    """

    __slots__ = ("_text",)

    def __init__(self, labels: Mapping[str, str]) -> None:
        if not labels:
            raise Invalid("a selector without a label would mean everything", hint="name at least one label", field="selector")
        for key, value in labels.items():
            if not isinstance(key, str) or len(key) > 253 or not _KEY.fullmatch(key):
                raise Invalid(f"'{shown(str(key))}' is no key of a label", hint="letters, digits, '-', '_' and '.'", field="selector")
            if not isinstance(value, str) or not _VALUE.fullmatch(value):
                raise Invalid(
                    f"'{shown(str(value))}' is no value of the label {key}",
                    hint="1 to 63 letters, digits, '-', '_' and '.', a letter or digit at both ends",
                    field="selector",
                )
        self._text = ",".join(f"{key}={value}" for key, value in labels.items())

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Selector({self._text})"
