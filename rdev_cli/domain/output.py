"""What a command printed, as one document holds it: so many bytes, and no half of a character."""

from dataclasses import dataclass

from rdev_cli.domain.command import Command

PAGE = 1 << 20  # the most bytes of a stream that one document holds


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOutput(Command):
    """A command with what it printed from some byte on, at most PAGE bytes a stream; `…_next` is the byte to go on from."""

    stdout: bytes
    stderr: bytes
    stdout_next: int
    stderr_next: int
    output_cut: bool  # there is more than this


def with_output(command: Command, stdout: bytes, stderr: bytes, *, offset: int = 0, stderr_offset: int = 0) -> CommandOutput:
    """Return a command with these bytes of its streams, cut to PAGE at the end of a character."""
    out, err = whole(stdout[:PAGE]) if len(stdout) > PAGE else stdout, whole(stderr[:PAGE]) if len(stderr) > PAGE else stderr
    return CommandOutput(
        **{name: getattr(command, name) for name in Command.__slots__},
        stdout=out, stderr=err, stdout_next=offset + len(out), stderr_next=stderr_offset + len(err),
        output_cut=len(out) < len(stdout) or len(err) < len(stderr),
    )  # fmt: skip


def whole(data: bytes) -> bytes:
    """Return data without the beginning of a UTF-8 character at its end."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:  # the first byte of a character: is all of it here?
            need = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data[:-back] if need > back else data
        if byte < 0x80:
            break
    return data
