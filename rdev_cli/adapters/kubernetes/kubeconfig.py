"""How to reach a cluster, by kubectl's own rules: the list in KUBECONFIG, contexts, certificates, tokens, plugins, or from inside a pod."""

import base64
import binascii
import json
import os
import re
import shlex
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from rdev_cli.adapters.kubernetes.access import TOKEN, Access, Login
from rdev_cli.domain.errors import Denied, Invalid, NotFound
from rdev_cli.domain.values import RULING, shown

BYTES = 4 << 20  # a kubeconfig with hundreds of clusters, each with its certificate
IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PLAIN = re.compile(r"[\x20-\x7e]+")
# with any of these consent to a plugin's command line would be consent to anything
_RULING = re.compile(f"{RULING}|RUBY.*|KUBERNETES_EXEC_INFO")

Read = Callable[[Path], Any]


def load(
    environ: Mapping[str, str],
    *,
    file: str = "",
    context: str = "",
    plugins: Sequence[str] = (),
    read: Read | None = None,
    insecure: bool = False,
) -> Access:
    """Return how to reach the cluster that kubectl would reach with the same words.

    `file` alone overrides KUBECONFIG; without any file, a pod's own service account is used. `plugins` are the command lines
    (an absolute path and its arguments, as a shell would quote them) that may be run to log in. `read` returns the data of a file, for
    callers that keep a faster copy. `insecure` lets a cluster be reached whose certificate nobody checks, if its entry says so.

    Invalid for what cannot be understood or is not taken, NotFound for a context that is not there, Denied for a plugin without consent.
    """
    paths, asked = _paths(environ, file)
    merged = _merge(paths, asked=asked, read=read or plain)
    if not merged.contexts and not merged.clusters:
        inside = _inside(environ)
        if inside is not None and not context and not file:
            return inside
        raise NotFound(
            f"no cluster is named in {' or '.join(str(path) for path in paths)}",
            hint="give its kubeconfig: rdev context set NAME --kubeconfig FILE",
            code="NO_CLUSTER",
        )
    name = context or merged.current
    if not name:
        raise NotFound(
            "the kubeconfig has no current context", hint=f"choose one with --kube-context: {_few(merged.contexts)}", code="NO_CLUSTER"
        )
    if name not in merged.contexts:
        raise NotFound(
            f"the kubeconfig has no context '{shown(name)}'",
            hint=f"it has: {_few(merged.contexts)}",
            code="NO_CLUSTER",
            field="kube-context",
        )
    entry = merged.contexts[name]
    cluster = _part(merged.clusters, entry.text("cluster"), "cluster", name)
    user = _part(merged.users, entry.text("user"), "user", name) if entry.text("user") else _Entry({}, Path(), "user")
    server = _server(cluster)
    if _true(cluster.data.get("insecure-skip-tls-verify")):
        if cluster.text("certificate-authority") or cluster.text("certificate-authority-data"):
            raise Invalid(
                f"the cluster of {shown(name)} names an authority and says not to verify", hint="take one of both out", field="kubeconfig"
            )
        if not insecure:
            raise Denied(
                f"the cluster of {shown(name)} is not to be verified (insecure-skip-tls-verify): anybody on the way could read and change it",
                hint="put its authority into the kubeconfig: kubectl config set-cluster NAME --certificate-authority FILE --embed-certs",
                code="TLS_NOT_VERIFIED",
            )
    return Access(
        server=server,
        namespace=entry.text("namespace") or "default",
        context=name,
        proxy=_proxy(cluster.text("proxy-url")) if cluster.text("proxy-url") else _proxy_of(environ, server),
        tls_server_name=cluster.text("tls-server-name"),
        authority=cluster.material("certificate-authority"),
        insecure=_true(cluster.data.get("insecure-skip-tls-verify")),
        login=_login(user, cluster, server, environ, plugins),
    )


def plain(path: Path) -> Any:
    """Return the data of a kubeconfig: JSON as such, for that loads nothing more, else YAML whose values are all text."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe of that name would be waited on for ever
    with os.fdopen(fd, "rb") as opened:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Invalid(f"{path} is no file", hint="name a kubeconfig", file=str(path))
        text = opened.read(BYTES + 1)
    if text.lstrip().startswith(b"{"):
        try:
            return json.loads(text)
        except ValueError:
            pass  # YAML has such a form too
    from rdev_cli.adapters.shared import safe_yaml  # noqa: PLC0415 -- costs more than all the rest, and the caller may have a copy

    return safe_yaml.load(text, str(path), texts=True)


class _Entry:
    """One cluster, user or context, with the folder that its relative paths are relative to."""

    def __init__(self, data: Mapping[str, Any], folder: Path, what: str) -> None:
        self.data, self.folder, self.what = data, folder, what

    def text(self, key: str) -> str:
        value = self.data.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise Invalid(f"'{key}' of a {self.what} in the kubeconfig is no text", hint="kubectl config view", field="kubeconfig")
        return value

    def path(self, key: str) -> Path | None:
        value = self.text(key)
        return self.folder / value if value else None

    def material(self, key: str) -> bytes | Path | None:
        """Return what `<key>-data` holds, else the file that `<key>` names."""
        data = self.text(f"{key}-data")
        if not data:
            return self.path(key)
        try:
            return base64.b64decode(data, validate=True)
        except binascii.Error as e:
            raise Invalid(f"'{key}-data' in the kubeconfig is no base64", hint="kubectl config view", field="kubeconfig") from e


class _Merged:
    """Several files as one: of each name the first entry stands, and so does the first current context."""

    def __init__(self) -> None:
        self.current = ""
        self.clusters: dict[str, _Entry] = {}
        self.users: dict[str, _Entry] = {}
        self.contexts: dict[str, _Entry] = {}


def _paths(environ: Mapping[str, str], file: str) -> tuple[list[Path], bool]:
    """Return the files to read, and whether each has to be there."""
    if file:
        return [Path(os.path.abspath(os.path.expanduser(file)))], True
    listed = [Path(os.path.abspath(part)) for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    if listed:
        return list(dict.fromkeys(listed)), False
    home = environ.get("HOME") or os.path.expanduser("~")
    return [Path(home) / ".kube" / "config"], False


def _merge(paths: Sequence[Path], *, asked: bool, read: Read) -> _Merged:
    merged = _Merged()
    for path in paths:
        try:
            data = read(path)
        except (FileNotFoundError, NotADirectoryError) as e:
            if asked:
                raise NotFound(f"there is no kubeconfig {path}", hint="name one that is there: --kubeconfig FILE", code="NO_CLUSTER") from e
            continue
        except OSError as e:
            raise Denied(f"the kubeconfig {path} cannot be read: {e.strerror}", hint=f"chmod u+r {shlex.quote(str(path))}") from e
        if data is None:
            continue
        if not isinstance(data, Mapping):
            raise Invalid(f"{path} is no kubeconfig", hint="name another: --kubeconfig FILE", file=str(path))
        current = data.get("current-context")
        if not merged.current and isinstance(current, str):
            merged.current = current
        for kind, into in (("cluster", merged.clusters), ("user", merged.users), ("context", merged.contexts)):
            _entries(path, data.get(f"{kind}s"), kind, into)
    return merged


def _entries(path: Path, listed: Any, kind: str, into: dict[str, _Entry]) -> None:
    if listed is None:
        return
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise Invalid(f"{path}: '{kind}s' is no list", hint="kubectl config view", file=str(path))
    here: dict[str, _Entry] = {}
    for one in listed:
        body = one.get(kind) if isinstance(one, Mapping) else None
        name = one.get("name") if isinstance(one, Mapping) else None
        if not isinstance(name, str) or not (body is None or isinstance(body, Mapping)):
            raise Invalid(f"{path}: an entry of '{kind}s' has no name or no {kind}", hint="kubectl config view", file=str(path))
        if name in here:
            raise Invalid(f"{path}: the {kind} '{shown(name)}' stands there twice", hint="keep one of them", file=str(path))
        here[name] = _Entry(body or {}, path.parent, kind)
    for name, entry in here.items():
        into.setdefault(name, entry)


def _part(entries: Mapping[str, _Entry], name: str, what: str, context: str) -> _Entry:
    if name not in entries:
        raise Invalid(
            f"the context {shown(context)} names the {what} '{shown(name)}', which the kubeconfig does not have",
            hint=f"kubectl config set-context {shlex.quote(shown(context))} --{what} NAME",
            field="kubeconfig",
        )
    return entries[name]


def _few(names: Mapping[str, object]) -> str:
    few = sorted(names)[:8]
    return ", ".join(shown(name) for name in few) + (", ..." if len(names) > len(few) else "")


def _true(value: object) -> bool:
    return value is True or value == "true"


def _address(text: str, what: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as e:
        raise Invalid(f"the {what} in the kubeconfig is no address", hint="kubectl config view", field="kubeconfig") from e
    if not _PLAIN.fullmatch(text) or " " in text or not parts.hostname:
        raise Invalid(f"the {what} in the kubeconfig is no address", hint="kubectl config view", field="kubeconfig")
    return parts


def loopback(host: str) -> bool:
    """Say whether a host of an address is this machine itself."""
    if host == "localhost":
        return True
    import ipaddress  # noqa: PLC0415 -- few need it

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _server(cluster: _Entry) -> str:
    text = cluster.text("server")
    if not text:
        raise Invalid(
            "the cluster in the kubeconfig has no server", hint="kubectl config set-cluster NAME --server URL", field="kubeconfig"
        )
    if "://" not in text:
        text = f"https://{text}"
    parts = _address(text, "server")
    if parts.scheme not in ("https", "http") or parts.query or parts.fragment or parts.username is not None:
        raise Invalid(
            f"'{shown(parts.scheme)}://{shown(parts.hostname or '')}' is no address of an API server",
            hint="https://HOST:PORT",
            field="kubeconfig",
        )
    if parts.scheme == "http" and not loopback(parts.hostname or ""):
        raise Denied(
            f"the server {shown(parts.hostname or '')} is reached without TLS: anybody on the way could read and change it",
            hint="kubectl config set-cluster NAME --server https://HOST:PORT",
            code="TLS_NOT_VERIFIED",
        )
    return text.rstrip("/")


def _proxy(text: str) -> str:
    parts = _address(text, "proxy-url")
    if parts.scheme != "http":
        raise Invalid(
            f"a proxy by '{shown(parts.scheme)}' is not taken",
            hint="give the address of an HTTP proxy: http://HOST:PORT",
            field="kubeconfig",
        )
    return text


def _proxy_of(environ: Mapping[str, str], server: str) -> str:
    """Return the proxy that the environment names for a server, as kubectl reads it."""
    host, port = urlsplit(server).hostname or "", urlsplit(server).port or 443
    proxy = environ.get("HTTPS_PROXY") or environ.get("https_proxy") or ""
    if not proxy or not server.startswith("https:") or loopback(host):
        return ""
    if _direct(environ.get("NO_PROXY") or environ.get("no_proxy") or "", host, port):
        return ""
    return _proxy(proxy if "://" in proxy else f"http://{proxy}")


def _direct(listed: str, host: str, port: int) -> bool:
    import ipaddress  # noqa: PLC0415 -- few need it

    for part in (one.strip().lower() for one in listed.split(",")):
        name, _, only = part.rpartition(":") if re.search(r"[^:]:\d+$", part) else (part, "", "")
        if not name or (only and int(only) != port):
            continue
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(name.strip("[]"), strict=False):
                return True
        except ValueError:
            bare = name.removeprefix("*")
            tail = f".{bare.removeprefix('.')}"
            if name == "*" or host.endswith(tail) or host == bare:
                return True
    return False


def _login(user: _Entry, cluster: _Entry, server: str, environ: Mapping[str, str], plugins: Sequence[str]) -> Login:
    if user.data.get("auth-provider") is not None:
        raise Invalid(
            "a login by 'auth-provider' is not taken: kubectl itself gave it up for plugins",
            hint="let the cluster's own tool write a kubeconfig with 'exec' or a token",
            field="kubeconfig",
        )
    token = user.text("token")
    if token and not TOKEN.fullmatch(token):
        raise Invalid("the token in the kubeconfig is no token", hint="kubectl config view", field="kubeconfig")
    certificate, key = user.material("client-certificate"), user.material("client-key")
    if (certificate is None) != (key is None):
        raise Invalid(
            "the user in the kubeconfig has a certificate without its key, or a key alone", hint="kubectl config view", field="kubeconfig"
        )
    basic = (user.text("username"), user.text("password")) if user.text("username") else None
    return Login(
        token=token,
        token_file=user.path("tokenFile"),
        basic=basic,
        certificate=(certificate, key) if certificate is not None and key is not None else None,
        plugin=_plugin(user, cluster, server, environ, plugins),
        acting=_acting(user),
    )


def _acting(user: _Entry) -> list[tuple[str, str]]:
    """Return the headers of a user who acts as another."""
    found = [(f"Impersonate-{header}", user.text(key)) for key, header in (("as", "User"), ("as-uid", "Uid")) if user.text(key)]
    groups = user.data.get("as-groups") or ()
    extra = user.data.get("as-user-extra") or {}
    if isinstance(groups, str) or not isinstance(groups, Sequence) or not isinstance(extra, Mapping):
        raise Invalid(
            "'as-groups' or 'as-user-extra' in the kubeconfig cannot be understood", hint="kubectl config view", field="kubeconfig"
        )
    found += [("Impersonate-Group", group) for group in groups]
    found += [(f"Impersonate-Extra-{key}", value) for key, values in extra.items() for value in (values or ())]
    if any(not isinstance(text, str) or not _PLAIN.fullmatch(text) for pair in found for text in pair):
        raise Invalid("whom the user in the kubeconfig acts as cannot be sent", hint="kubectl config view", field="kubeconfig")
    return found


def _plugin(user: _Entry, cluster: _Entry, server: str, environ: Mapping[str, str], plugins: Sequence[str]) -> dict[str, Any] | None:
    """Return what the plugin is to be run with, None without one. Denied unless its whole command line was consented to."""
    told = user.data.get("exec")
    if told is None:
        return None
    import shutil  # noqa: PLC0415 -- for those who have a plugin

    args, variables = told.get("args") or [] if isinstance(told, Mapping) else None, {}
    if args is None or isinstance(args, str) or any(not isinstance(one, str) for one in args):
        raise Invalid("'exec' of the user in the kubeconfig cannot be understood", hint="kubectl config view", field="kubeconfig")
    entry = _Entry(told, user.folder, "user's exec")
    for pair in told.get("env") or ():
        one = _Entry(pair if isinstance(pair, Mapping) else {}, user.folder, "variable")
        variables[one.text("name")] = one.text("value")
        if not one.text("name") or _RULING.fullmatch(one.text("name")):
            raise Denied(
                f"the plugin of the kubeconfig sets {shown(one.text('name'))}, which decides what runs",
                hint="take the variable out of the kubeconfig",
                code="PLUGIN_NOT_ALLOWED",
            )
    if entry.text("interactiveMode") == "Always":
        raise Invalid("the plugin of the kubeconfig wants to ask on a terminal", hint="use a login that asks nothing", field="kubeconfig")
    command = entry.text("command")
    # one with a slash is relative to the file, any other is looked for on PATH, as kubectl does
    path = os.path.abspath(user.folder / command) if "/" in command else shutil.which(command, path=environ.get("PATH", os.defpath))
    if not command or path is None:
        raise Invalid(
            f"the plugin '{shown(command)}' of the kubeconfig is not installed",
            hint=shown(entry.text("installHint"), most=300) or "install it",
        )
    line = shlex.join([path, *args])
    if line not in plugins:
        raise Denied(
            f"the kubeconfig logs in by running a program, and nobody consented to it: {shown(line, most=300)}",
            hint=f"if you trust it: rdev context set NAME --allow-plugin {shlex.quote(line)}",
            code="PLUGIN_NOT_ALLOWED",
            plugin=line,
        )
    authority = cluster.material("certificate-authority")
    return {
        "exec": {
            "apiVersion": entry.text("apiVersion"),
            "command": path,
            "args": list(args),
            "env": [{"name": name, "value": value} for name, value in variables.items()],
            "provideClusterInfo": _true(told.get("provideClusterInfo")),
        },
        "folder": str(user.folder),
        "cluster": {
            "server": server,
            "tls-server-name": cluster.text("tls-server-name"),
            "certificate-authority-data": base64.b64encode(authority).decode() if isinstance(authority, bytes) else "",
            "proxy-url": cluster.text("proxy-url"),
            "extensions": cluster.data.get("extensions") or [],
        },
    }


def _inside(environ: Mapping[str, str]) -> Access | None:
    """Return the access of the pod's own service account, None where this is no pod."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port.isdigit() or not (IN_CLUSTER / "token").is_file():
        return None
    try:
        namespace = (IN_CLUSTER / "namespace").read_text().strip()
    except OSError:
        namespace = ""
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=namespace or "default",
        context="in-cluster",
        authority=IN_CLUSTER / "ca.crt",
        login=Login(token_file=IN_CLUSTER / "token"),
    )
