"""The sandbox's argv keeps one rule: once an agent's folders are bound, nothing more is made below the new root.

bubblewrap before 0.12.0 follows a link that lies in the way while it makes mount points (CVE-2026-87766). An agent can leave links
only in its workspace and its home; so these come last, and no mount point lies below them (docs/decisions/0003).
"""

from pathlib import Path

from rdev_cli.adapters.local import sandbox

MAKES = {
    "--bind", "--bind-try", "--ro-bind", "--ro-bind-try", "--dev-bind", "--tmpfs", "--dir", "--file", "--symlink", "--proc", "--dev",
    "--mqueue", "--bind-data", "--ro-bind-data", "--overlay",
}  # fmt: skip


def _argv(**changes: object) -> list[str]:
    given = {
        "pod": Path("/state/pod"),
        "network": True,
        "shown": ("/opt/go", "/workspace/x"),
        "tools": ("/usr/bin/claude",),
        "terminal": False,
        "filter_fd": 10,
    }
    return sandbox.box("/usr/bin/bwrap", **{**given, **changes})  # type: ignore[arg-type]


def test_the_agents_folders_are_bound_last() -> None:
    for changes in ({}, {"network": False}, {"terminal": True}):
        argv = _argv(**changes)
        made = [at for at, word in enumerate(argv[: argv.index("--")]) if word in MAKES]
        writable = [at for at in made if argv[at] == "--bind"]
        assert [argv[at + 2] for at in writable] == [sandbox.WORKSPACE, sandbox.HOME]
        assert made[-2:] == writable


def test_the_agents_folders_do_not_lie_in_each_other() -> None:
    assert not sandbox.HOME.startswith(f"{sandbox.WORKSPACE}/")
    assert not sandbox.WORKSPACE.startswith(f"{sandbox.HOME}/")


def test_everything_is_unshared_and_the_network_only_where_it_is_wanted() -> None:
    assert "--share-net" in _argv()
    assert "--share-net" not in _argv(network=False)
    for argv in (_argv(), _argv(network=False), _argv(terminal=True)):
        assert {"--unshare-all", "--die-with-parent", "--remount-ro"} <= set(argv)
        assert argv[argv.index("--cap-drop") + 1] == "ALL"
