"""What ships with rdev: the skeleton and the manifests of `rdev serve`, from a checkout's folders or from the wheel."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from rdev_cli.domain.serving import InstallSpec

_PACKAGE = Path(__file__).parents[1]


def _folder(name: str, sign: str) -> Path:
    """Return a folder that ships with rdev, known by a file in it: a checkout's own comes first."""
    checkout = _PACKAGE.parent / name
    return checkout if (checkout / sign).is_file() else _PACKAGE / "_data" / name


def skeleton_folder() -> Path:
    """Return the skeleton's folder."""
    return _folder("skeleton", "CLAUDE.md.j2")


class PackagedShelf:
    """The Shelf port on packaged files. A name that ends in `.j2` is a template."""

    def skeleton(self, values: Mapping[str, str]) -> Mapping[str, tuple[bytes, bool]]:
        root = skeleton_folder()
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
        files: dict[str, tuple[bytes, bool]] = {}
        for path in sorted(root.rglob("*")):
            if not path.is_file():
                continue
            content, name = path.read_bytes(), path.relative_to(root).as_posix()
            if name.endswith(".j2"):
                content = environment.from_string(content.decode()).render(dict(values)).encode()
                name = name.removesuffix(".j2")
            files[name] = content, path.suffix == ".sh" or content.startswith(b"#!")
        return files

    def manifests(self, spec: InstallSpec) -> str:
        return _yaml(_chosen(spec))

    def kinds(self) -> Sequence[str]:
        event = json.loads((_PACKAGE / "_data" / "schemas" / "event.json").read_bytes())["$defs"]["Event"]
        return [one["if"]["properties"]["kind"]["const"] for one in event["allOf"]]


def _yaml(documents: Iterable[Any]) -> str:
    """Return documents as a person writes them: keys in their order, and a text of several lines as such."""
    import yaml  # noqa: PLC0415 -- slow to load, and projects are made without it

    class Dumper(yaml.SafeDumper):
        pass

    Dumper.add_representer(
        str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)
    )
    return str(yaml.dump_all(documents, Dumper=Dumper, sort_keys=False, width=1 << 16))


def _chosen(spec: InstallSpec) -> Iterator[dict[str, Any]]:
    """Yield the objects that `deploy/kustomization.yaml` names, with what was chosen in its places."""
    import yaml  # noqa: PLC0415 -- as above

    folder = _folder("deploy", "kustomization.yaml")
    # the namespace comes before what is in it
    documents = [one for name in ("serve.yaml", "rbac.yaml") for one in yaml.safe_load_all((folder / name).read_text())]
    for one in documents:
        if one["kind"] == "Namespace":
            one["metadata"]["name"] = spec.namespace
        else:
            one["metadata"]["namespace"] = spec.namespace
        for subject in one.get("subjects", ()):
            subject["namespace"] = spec.namespace
        if one["kind"] == "ConfigMap" and spec.pod_image:
            settings = yaml.safe_load(one["data"]["config.yaml"])
            settings["contexts"]["cluster"]["image"] = spec.pod_image
            one["data"]["config.yaml"] = _yaml([settings])
        if one["kind"] == "Deployment":
            (container,) = one["spec"]["template"]["spec"]["containers"]
            container["image"] = spec.image or container["image"]
            (host,) = (entry for entry in container["env"] if entry["name"] == "RDEV_ALLOW_HOST")
            host["value"] = spec.served
        yield one
