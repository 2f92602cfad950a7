"""The moments before and after what leaves a mark outside the process, for the scripts here that strike rdev at one of them."""

from collections.abc import Callable


def around(owner: object, name: str, strike: Callable[[], None]) -> None:
    """Strike before and after each call of something."""
    real = getattr(owner, name)

    def struck(*args, **kwargs):
        strike()
        result = real(*args, **kwargs)
        strike()
        return result

    setattr(owner, name, struck)


class Commit:
    """A transaction of the database, struck at before its beginning and after its end."""

    def __init__(self, real, strike: Callable[[], None]) -> None:
        self._real, self._strike = real, strike

    def __enter__(self):
        self._strike()
        return self._real.__enter__()

    def __exit__(self, *error):
        result = self._real.__exit__(*error)
        self._strike()
        return result
