"""The image of `rdev serve` as the lab can have it without Docker: its Debian with git, this interpreter, the built wheel and what that needs.

It stands for what deploy/serve.Dockerfile makes: the same user, the same way in, the wheel as a user installs it.
"""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAME = "rdev.lab/rdev-serve:test"
_LAB = Path(os.environ.get("RDEV_LAB_HOME") or Path.home() / ".cache" / "rdev-lab")
_LEFT_OUT = {"test", "idlelib", "tkinter", "turtledemo", "ensurepip", "site-packages", "__pycache__", "lib2to3"}
_MACHINE = re.compile(r"/(ld-linux|libc\.so|libm\.so|libdl|libpthread|librt)")
_WAY_IN = """#!/bin/sh
LD_LIBRARY_PATH=/opt/python/lib exec /opt/python/bin/python -m rdev_cli "$@"
"""


def bring(folder: Path) -> str:
    """Build the image and hand it to the lab's containerd; return its name."""
    place = folder / "layer"
    _python(place / "opt" / "python")
    _packages(folder, place / "opt" / "python" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages")
    script = place / "usr" / "local" / "bin" / "rdev"
    script.parent.mkdir(parents=True)
    script.write_text(_WAY_IN)
    script.chmod(0o755)
    (place / "var" / "lib" / "rdev").mkdir(parents=True)
    (base,) = (_LAB / "images").glob("claudebox-*.tar")
    _archive(base, place, folder / "image.tar")
    socket = _LAB / "run" / "kubernetes" / "containerd.sock"
    subprocess.run(
        ["ctr", "-a", str(socket), "-n", "k8s.io", "images", "import", str(folder / "image.tar")],
        check=True,
        capture_output=True,
        timeout=300,
    )
    (folder / "image.tar").unlink()
    return NAME


def _python(place: Path) -> None:
    home, version = Path(sys.base_prefix), f"python{sys.version_info[0]}.{sys.version_info[1]}"
    shutil.copytree(home / "lib" / version, place / "lib" / version, ignore=lambda _, names: _LEFT_OUT & set(names), symlinks=True)
    (place / "bin").mkdir()
    shutil.copy(Path(sys.executable).resolve(), place / "bin" / "python")
    wanted = [place / "bin" / "python", *(place / "lib" / version / "lib-dynload").glob("*.so")]
    told = subprocess.run(["ldd", *map(str, wanted)], capture_output=True, text=True, check=False, timeout=60).stdout
    for path in sorted(set(re.findall(r"=> (/\S+)", told))):
        if not _MACHINE.search(path):
            shutil.copy(path, place / "lib" / Path(path).name)


def _packages(folder: Path, site: Path) -> None:
    """Unpack the wheel, and copy what it needs out of this environment."""
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation")
    subprocess.run([*pip, "--wheel-dir", str(folder), str(ROOT)], check=True, capture_output=True, timeout=300)
    (wheel,) = folder.glob("rdev-*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    asked = [line for line in distribution("rdev").requires or [] if "extra ==" not in line or re.search("extra == .serve.", line)]
    seen = {"rdev"}
    while asked:
        name = re.split(r"[^A-Za-z0-9._-]", asked.pop().replace(" ", ""), maxsplit=1)[0].lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except ModuleNotFoundError:  # for another system
            continue
        for file in found.files or []:
            if ".." not in file.parts and file.suffix != ".pyc":
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), site / file)
        asked += [line for line in found.requires or [] if "extra ==" not in line]


def _archive(base: Path, layer: Path, out: Path) -> None:
    """Write a docker-archive: the lab's Debian, and one layer upon it."""
    with tarfile.open(base) as given, tarfile.open(out, "w") as archive:
        stream = given.extractfile("manifest.json")
        assert stream is not None
        first = json.loads(stream.read())[0]["Layers"][0]
        below = given.getmember(first)
        archive.addfile(below, given.extractfile(below))
        own = out.with_suffix(".layer")
        with tarfile.open(own, "w") as tar:
            for path in sorted(layer.rglob("*")):
                tar.add(path, path.relative_to(layer).as_posix(), recursive=False, filter=_public)
        with own.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        archive.add(own, f"{digest}/layer.tar")
        own.unlink()
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {
                    "Entrypoint": ["/usr/local/bin/rdev"],
                    "Cmd": ["serve"],
                    "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1"],
                    "User": "10001:10001",
                    "WorkingDir": "/var/lib/rdev",
                },
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{first.partition('/')[0]}", f"sha256:{digest}"]},
            }
        ).encode()
        name = f"{hashlib.sha256(config).hexdigest()}.json"
        _add(archive, name, config)
        _add(
            archive, "manifest.json", json.dumps([{"Config": name, "RepoTags": [NAME], "Layers": [first, f"{digest}/layer.tar"]}]).encode()
        )


def _public(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.mode |= 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
