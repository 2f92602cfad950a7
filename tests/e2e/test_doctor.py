"""rdev doctor as a user types it: what it proves, and what it says when things are broken."""

import json


def verdicts(ran):
    return {check["name"]: check["verdict"] for check in json.loads(ran.stdout)["items"]}


def test_every_wall_of_the_sandbox_is_tried_and_holds(rdev):
    found = verdicts(rdev("doctor", "-o", "json"))
    assert {name: verdict for name, verdict in found.items() if name.startswith("isolation")} == dict.fromkeys(
        (
            "isolation", "isolation.writes", "isolation.machine", "isolation.keys", "isolation.home", "isolation.state",
            "isolation.processes", "isolation.network", "isolation.no-network",
        ),
        "ok",
    )  # fmt: skip
