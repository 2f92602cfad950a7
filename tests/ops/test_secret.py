"""What rdev knows to be secret shows itself to nobody who prints it."""

from rdev_cli.domain.agent import AgentSpec
from rdev_cli.domain.codec import to_json
from rdev_cli.domain.command import Launch
from rdev_cli.domain.values import Secret


def test_an_agents_environment_is_never_printed():
    spec = AgentSpec(project="shop", prompt="x", environment=(("KEY", Secret("canary")),))
    launch = Launch(id="cmd_1", argv=("true",), environment=(("KEY", "canary"),))
    for text in (repr(spec), to_json(spec), repr(launch)):
        assert "canary" not in text
    assert spec.environment[0][1].reveal() == "canary"
