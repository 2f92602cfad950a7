"""A program of its own: run the login plugin that stdin describes, by the official client, and print what it answers."""

# mypy: disallow-untyped-calls=False
# (the official client says nothing of its types here)

import json
import os
import sys

from kubernetes.config.config_exception import ConfigException
from kubernetes.config.exec_provider import ExecProvider
from kubernetes.config.kube_config import ConfigNode


def main() -> None:
    """Read what to run, close stdin to the plugin, and print its status as JSON. Exit 1 with one line on stderr if there is none."""
    told = json.loads(sys.stdin.buffer.read())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the client lends its own stdin to the plugin
    cluster = ConfigNode("cluster", {key: value for key, value in told["cluster"].items() if value})
    try:
        answer = ExecProvider(ConfigNode("exec", told["exec"]), told["folder"], cluster).run()
    except (ConfigException, OSError) as e:
        sys.exit(str(e))
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
