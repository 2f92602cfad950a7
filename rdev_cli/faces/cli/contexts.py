"""rdev context."""

import sys
from typing import Annotated, Any

import typer

from rdev_cli.domain.report import Verdict
from rdev_cli.domain.serving import InstallSpec
from rdev_cli.domain.values import name as name_rule
from rdev_cli.faces.cli.face import Misused, checked, confirm, does, hand, noun, say, write
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import contexts

app = noun("Contexts: named places to work, and the settings in force.")


def _named(value: str) -> None:
    name_rule(value, "context name")


def _set(value: str) -> str:
    if "=" in value:
        raise Misused(
            "the context comes first, and what is set is an option",
            "rdev context set local --agent NAME; rdev context set --help shows what can be set",
        )
    return name_rule(value, "context name")


def _agent(value: str) -> None:
    name_rule(value, "agent")


Name = Annotated[str, typer.Argument(metavar="NAME", help="The context.", show_default=False)]


@does(app, "list", contexts.list_)
def list_(ctx: typer.Context) -> None:
    show(ctx, contexts.list_(hand(ctx).world()))


@does(app, "show", contexts.show)
def show_(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The context; the current one by default.", callback=checked(_named))
    ] = None,
) -> None:
    show(ctx, contexts.show(hand(ctx).world(), name or ""))


@does(app, "view", contexts.view)
def view(
    ctx: typer.Context, origin: Annotated[bool, typer.Option("--origin", help="Say where each value came from (always done).")] = False
) -> None:
    del origin  # kubectl's and our own documents' spelling; there is no view without
    show(ctx, contexts.view(hand(ctx).world()))


@does(app, "use", contexts.use)
def use(ctx: typer.Context, name: Name) -> None:
    show(ctx, contexts.use(hand(ctx).world(), name))


@does(app, "test", contexts.prove)
def prove(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The context; the current one by default.", callback=checked(_named))
    ] = None,
) -> None:
    here = hand(ctx)
    found = contexts.prove(here.world(context=name) if name else here.world())
    show(ctx, found)
    if any(check.verdict is Verdict.FAILED for check in found):
        raise typer.Exit(9)


@does(
    app, "install", contexts.install, epilog="rdev context install --print --image registry.example.org/rdev-serve:1 | kubectl apply -f -"
)
def install(
    ctx: typer.Context,
    printed: Annotated[bool, typer.Option("--print", help="Print the manifests, which kubectl applies; rdev applies nothing.")] = False,
    namespace: Annotated[
        str | None,
        typer.Option("--namespace", metavar="NAMESPACE", help="Where it runs, with the pods of projects; the context's, or rdev."),
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", metavar="IMAGE", help="The server's image; deploy/serve.Dockerfile makes one.")
    ] = None,
    pod_image: Annotated[
        str | None, typer.Option("--pod-image", metavar="IMAGE", help="The image of projects' pods; the context's, or one of your own.")
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", help="The name that clients use; the service's own in the cluster.")
    ] = None,
) -> None:
    if not printed:
        raise Misused("rdev prints what is to be applied, and kubectl applies it", "rdev context install --print | kubectl apply -f -")
    here = hand(ctx)
    world = here.world()
    place: dict[str, Any] = {
        "namespace": world.settings.of_cluster("namespace") or "rdev",
        "pod_image": world.settings.of_cluster("image") or None,
    }
    given = {"namespace": namespace, "image": image, "pod_image": pod_image, "host": host}
    found = contexts.install(world, InstallSpec(**place | {word: value for word, value in given.items() if value is not None}))
    if here.human or here.output == "name":
        write(sys.stdout, found.manifests)
    else:
        show(ctx, found)


@does(app, "remove", contexts.remove)
def remove(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The context.", show_default=False, callback=checked(_named))],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    world = hand(ctx).world(context=name)
    contexts.show(world, name)  # nobody is asked about one that is not there
    confirm(ctx, f"Forget the context {name}?", yes=yes)
    gone = contexts.remove(world, name)
    say(f"what was kept of {name} on this machine stays in {world.settings.folders.state / name}")
    show(ctx, gone)


@does(
    app,
    "set",
    contexts.set_,
    epilog="rdev context set lab --kubeconfig ~/.kube/config --namespace rdev --image registry.example.org/claudebox:1",
)
def set_(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The context.", show_default=False, callback=_set)],
    kubeconfig: Annotated[
        str | None, typer.Option("--kubeconfig", metavar="PATH", help="The cluster, as kubectl knows it; KUBECONFIG by default.")
    ] = None,
    kube_context: Annotated[
        str | None, typer.Option("--kube-context", metavar="KUBE-CONTEXT", help="The context in that file; the one current there now.")
    ] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", metavar="NAMESPACE", help="The namespace of the pods.")] = None,
    image: Annotated[str | None, typer.Option("--image", metavar="IMAGE", help="The image of the pods.")] = None,
    pull_policy: Annotated[
        str | None, typer.Option("--pull-policy", metavar="POLICY", help="IfNotPresent (default), Always or Never.")
    ] = None,
    egress: Annotated[
        str | None, typer.Option("--egress", metavar="CLASS", help="What pods reach: internet (default), providers or none.")
    ] = None,
    storage_class: Annotated[
        str | None, typer.Option("--storage-class", metavar="CLASS", help="Where work trees are kept; the cluster's default.")
    ] = None,
    cpu: Annotated[str | None, typer.Option("--cpu", metavar="CORES", help="The most that a pod may use (2).")] = None,
    memory: Annotated[str | None, typer.Option("--memory", metavar="SIZE", help="The most that a pod may use (4Gi).")] = None,
    root: Annotated[bool | None, typer.Option("--root/--no-root", help="Commands run as root in their pod.")] = None,
    allow_weaker: Annotated[
        bool | None,
        typer.Option("--allow-weaker/--no-allow-weaker", help="Work on a cluster that does not enforce network policies, too."),
    ] = None,
    plugins: Annotated[
        list[str] | None,
        typer.Option("--allow-plugin", metavar="PROGRAM", help="A login program of the kubeconfig that may run; again for more."),
    ] = None,
    forge: Annotated[str | None, typer.Option("--forge", metavar="KIND", help="Where repositories are: local or gitea.")] = None,
    gitea_url: Annotated[
        str | None, typer.Option("--gitea-url", metavar="URL", help="The Gitea; its token is the credential GITEA_TOKEN.")
    ] = None,
    gitea_owner: Annotated[
        str | None, typer.Option("--gitea-owner", metavar="OWNER", help="The user or organization that has the repositories.")
    ] = None,
    public_url: Annotated[
        str | None, typer.Option("--public-url", metavar="URL", help="Where Gitea reaches rdev serve, to tell it of pushes.")
    ] = None,
    isolation: Annotated[str | None, typer.Option("--isolation", metavar="KIND", help="bubblewrap or none.")] = None,
    shown: Annotated[
        list[str] | None, typer.Option("--show", metavar="DIR", help="A host folder that sandboxes see read-only; again for more.")
    ] = None,
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="NAME", help="The agent that works where nobody says which.", callback=checked(_agent))
    ] = None,
    agent_path: Annotated[
        list[str] | None, typer.Option("--agent-path", metavar="NAME=PATH", help="Where an agent's program is; a new NAME makes an agent.")
    ] = None,
    agent_model: Annotated[list[str] | None, typer.Option("--agent-model", metavar="NAME=MODEL", help="The model an agent uses.")] = None,
    agent_tools: Annotated[
        list[str] | None, typer.Option("--agent-tools", metavar="NAME=TOOL,TOOL", help="The tools an agent may use.")
    ] = None,
    agent_output: Annotated[
        list[str] | None, typer.Option("--agent-output", metavar="NAME=KIND", help="How a program of yours prints: lines or jsonl.")
    ] = None,
    agent_args: Annotated[
        list[str] | None, typer.Option("--agent-args", metavar="NAME=WORD,WORD", help="The arguments of a program of yours.")
    ] = None,
    agent_variables: Annotated[
        list[str] | None,
        typer.Option("--agent-variables", metavar="NAME=VAR,VAR", help="What a program of yours takes from your environment."),
    ] = None,
    agent_env: Annotated[
        list[str] | None, typer.Option("--agent-env", metavar="NAME.VAR=VALUE", help="A variable for an agent; no secrets.")
    ] = None,
    preview_domain: Annotated[
        str | None,
        typer.Option("--preview-domain", metavar="DOMAIN", help="The domain that previews are under; '' for names of this machine."),
    ] = None,
    vault: Annotated[
        str | None, typer.Option("--vault", metavar="KIND", help="Where credentials are kept: auto, keyring, file or passphrase.")
    ] = None,
    pool: Annotated[
        int | None, typer.Option("--pool", metavar="NUMBER", min=0, max=100, help="How many workers the server keeps warm for sessions.")
    ] = None,
) -> None:
    given = {
        "isolation": isolation, "agent": agent, "vault": vault, "pool": None if pool is None else str(pool), "kubeconfig": kubeconfig, "kube_context": kube_context, "namespace": namespace,
        "image": image, "pull_policy": pull_policy, "egress": egress, "storage_class": storage_class, "cpu": cpu, "memory": memory,
        "root": None if root is None else str(root).lower(), "allow_weaker": None if allow_weaker is None else str(allow_weaker).lower(),
        "forge": forge, "gitea_url": gitea_url, "gitea_owner": gitea_owner, "public_url": public_url,
        "exec_plugins": "\n".join(plugins) if plugins else None, "preview_domain": preview_domain,
    }  # fmt: skip
    values = {key: value for key, value in given.items() if value is not None}
    if shown:
        values["show"] = "\n".join(shown)
    for pairs, flag in (
        (agent_path, "path"), (agent_output, "output"), (agent_args, "args"), (agent_variables, "variables"), (agent_model, "model"),
        (agent_tools, "tools"), (agent_env, "env"),
    ):  # fmt: skip
        for pair in pairs or []:
            key, equals, value = pair.partition("=")
            who, dot, variable = key.partition(".")
            if not equals or not value or (flag == "env") != bool(dot):
                shape = "NAME.VAR=VALUE" if flag == "env" else "NAME=VALUE"
                raise typer.BadParameter(f"'{pair}' has no value; write {shape}", param_hint=f"'--agent-{flag}'")
            values[f"agents.{who}.{f'env.{variable}' if dot else flag}"] = value
    made = contexts.set_(hand(ctx).world(), name, values)
    if not values:
        say(f"{name} is as it was, or new with the defaults; rdev context set --help shows what can be set")
    show(ctx, made)
