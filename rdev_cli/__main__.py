"""The door: answers `--version`, the shells' completion and git by itself, and leaves the rest to the command line."""

import sys

# objects: Python looks for garbage at every 700 new ones, which takes a tenth of a short command's time, and modules stay to the end
THRESHOLD = 50_000


def main() -> int:
    """Run the command line and return its exit code."""
    if sys.argv[1:] == ["--version"]:
        from rdev_cli import __version__  # noqa: PLC0415 -- this answer must not pay for the others

        sys.stdout.write(f"rdev {__version__}\n")
        return 0
    if sys.argv[1:2] == ["__complete"]:
        from rdev_cli.faces.cli.complete import main as complete  # noqa: PLC0415 -- a Tab must not pay for typer

        return complete(sys.argv[2:])
    if sys.argv[1:3] == ["checkout", "credential"]:
        from rdev_cli.faces.cli.helper import main as helper  # noqa: PLC0415 -- git asks, at every push and fetch

        return helper(sys.argv[3:])
    import gc  # noqa: PLC0415 -- as the next one: what answered above is over before there is garbage

    gc.set_threshold(THRESHOLD)
    import signal  # noqa: PLC0415 -- loads enum, which is a fifth of the answer above

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a Ctrl-C before rdev listens ends it without a traceback
    from rdev_cli.faces.cli.main import main as run  # noqa: PLC0415

    try:
        return run()
    finally:
        gc.freeze()  # the interpreter would look all of it through once more, only to leave


if __name__ == "__main__":
    sys.exit(main())
