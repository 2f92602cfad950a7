# `just` runs all checks; `just --list` shows the parts. Everything comes from .venv, which the README's second command makes.

bin := justfile_directory() / ".venv/bin"

# everything that must hold before a change lands
default: lint types rooms docs-check test

# style and formatting
lint:
    {{bin}}/ruff check
    {{bin}}/ruff format --check

# mypy, strict
types:
    {{bin}}/mypy

# the import contracts
rooms:
    {{bin}}/lint-imports

# the default suite; words after it go to pytest
test *words:
    {{bin}}/pytest {{words}}

# what is about the state, on a SQLite that is new enough for WAL
test-newer-sqlite *words="-m 'state and not kills and not cluster'":
    #!/usr/bin/env bash
    set -eu
    {{bin}}/python tests/support/newer_sqlite/use.py on
    trap '{{bin}}/python tests/support/newer_sqlite/use.py off' EXIT
    RDEV_TEST_NEWER_SQLITE=1 {{bin}}/pytest {{words}}

# write docs/cli.md, docs/errors.md, the man pages, the words of completion and the schemas from the code
docs:
    {{bin}}/python docs/generate.py

# draw the README's picture of the demo again
picture:
    {{bin}}/python docs/picture.py

# compare them only
docs-check:
    {{bin}}/python docs/generate.py --check

# measure, and write bench/RESULTS.md
bench *words:
    {{bin}}/python bench/bench.py {{words}}

# write requirements-dev.lock from pyproject.toml; `just lock --upgrade` takes newer versions
lock *words:
    #!/usr/bin/env bash
    set -eu
    place=$(mktemp -d)
    trap 'rm -rf "$place"' EXIT
    python3 -m venv "$place" && "$place/bin/pip" install --quiet uv
    "$place/bin/uv" pip compile pyproject.toml --quiet --universal --python-version 3.11 --extra sandbox --extra dev --generate-hashes \
      --no-header --no-emit-index-url --no-emit-find-links {{words}} --output-file requirements-dev.lock

# the tests in a real browser, Debian's chromium; what drives it comes from a lock of its own
test-browser *words="tests/browser":
    {{bin}}/pip install --quiet --require-hashes -r requirements-browser.lock
    {{bin}}/pytest -n0 -m browser {{words}}

# write requirements-browser.lock, in versions that fit beside requirements-dev.lock; `just lock-browser --upgrade` takes newer ones
lock-browser *words:
    #!/usr/bin/env bash
    set -eu
    place=$(mktemp -d)
    trap 'rm -rf "$place"' EXIT
    python3 -m venv "$place" && "$place/bin/pip" install --quiet uv
    "$place/bin/uv" pip compile requirements-browser.in --quiet --universal --python-version 3.11 --constraint requirements-dev.lock \
      --generate-hashes --no-header --no-emit-index-url --no-emit-find-links {{words}} --output-file requirements-browser.lock

# what takes long: what is about the state on both SQLites, more examples, a cluster's connections cut a thousand times and 200 at once, the benchmarks
nightly: default test-newer-sqlite
    HYPOTHESIS_PROFILE=nightly {{bin}}/pytest
    RDEV_TEST_CUTS=1000 RDEV_TEST_AT_ONCE=200 RDEV_TEST_SECONDS=600 {{bin}}/pytest -n0 -m cluster tests/cluster/test_faults.py
    {{bin}}/pytest -n0 -m outages
    {{bin}}/pytest -m kills
    {{bin}}/python bench/bench.py -n 30

# mend what a machine can mend
fix:
    {{bin}}/ruff check --fix
    {{bin}}/ruff format
