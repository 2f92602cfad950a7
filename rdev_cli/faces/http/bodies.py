"""What bodies of requests are checked for at the door: their shape alone, as what makes sense is the domain's to say."""

from base64 import b64decode
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from rdev_cli.domain.errors import Invalid

YEAR = 366 * 86400  # seconds, the most that anybody waits for anything
Seconds = Annotated[int, Field(ge=0, le=YEAR, description="Seconds; 0 for none.")]


class Body(BaseModel):
    """A body whose every field is known: what nobody reads must not be believed to count."""

    model_config = ConfigDict(extra="forbid", strict=True)


def either(text: str | None, b64: str | None, field: str) -> bytes | None:
    """Return bytes given as text or as base64, None if neither is there; Invalid for both, or for what is no base64."""
    if text is not None and b64 is not None:
        raise Invalid(f"{field} and {field}_b64 exclude each other", hint="give one of them", field=field)
    if b64 is None:
        return None if text is None else text.encode()
    try:
        return b64decode(b64, validate=True)
    except ValueError as e:
        raise Invalid(f"{field}_b64 is no base64", hint="encode the bytes by base64, without line breaks", field=f"{field}_b64") from e
