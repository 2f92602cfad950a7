"""Documents as YAML: the same plain data as JSON, for people who read YAML."""

from typing import Any

from rdev_cli.adapters.shared.safe_yaml import dump
from rdev_cli.domain.codec import plain


def to_yaml(value: Any) -> str:
    """Return value as YAML."""
    return dump(plain(value)).decode()
