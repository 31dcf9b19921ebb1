"""Virtual environments of the peers, in the cache folder, and the ONNX files made in one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.bench.peers.known import Environment
from tools.common.cache import cache_dir, locked
from tools.common.console import say
from tools.common.errors import ToolError
from tools.common.processes import run_bounded, tail
from tools.facts.paths import ROOT

#: Seconds: compiling llama.cpp on two cores, and a slow index, with a wide margin.
_INSTALL_SECONDS = 3600
#: Seconds to export the larger model, with a wide margin.
_EXPORT_SECONDS = 1800
_STAMP = "made-of.sha256"

_INFERENCE = Path(__file__).parent / "inference"


def interpreter(environment: Environment) -> Path:
    """Return the environment's Python; it need not exist yet."""
    return _folder(environment) / "bin" / "python"


def is_installed(environment: Environment) -> bool:
    """Tell whether the environment is there, with these packages and for this Python."""
    stamp = _folder(environment) / _STAMP
    return stamp.is_file() and stamp.read_text() == _fingerprint(environment)


def ensure_environment(environment: Environment) -> Path:
    """Return the environment's Python, made unless it is there.

    An interrupted installation is begun anew. Raises ToolError where this is no Linux, whose
    signals and /proc the measurement needs, or with the end of what pip said.
    """
    if not sys.platform.startswith("linux"):
        raise ToolError("peers as processes are measured on Linux only")
    folder = _folder(environment)
    with locked(folder):
        if is_installed(environment):
            return interpreter(environment)
        compiling = f", compiling {environment.compiles}" if environment.compiles else ""
        say(f"installing {' '.join(environment.packages)} into {folder}{compiling}")
        if folder.exists():
            shutil.rmtree(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # virtualenv comes with nox; Debian's own venv module lacks pip.
        _run([sys.executable, "-m", "virtualenv", "-q", str(folder)], "no virtual environment")
        pip = ["-m", "pip", "--disable-pip-version-check", "install", "-q"]
        command = [str(interpreter(environment)), *pip, *environment.packages]
        _run(command, f"pip could not install {' '.join(environment.packages)}")
        (folder / _STAMP).write_text(_fingerprint(environment))
    return interpreter(environment)


def knows_a_gpu(python: Path) -> bool:
    """Tell whether a Python has a PyTorch that finds an NVIDIA GPU."""
    script = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return run_bounded([str(python), "-c", script], timeout=300).code == 0


def installed_versions(python: Path, environment: Environment) -> str:
    """Return what a Python has of the packages that an environment names, with versions."""
    names = [re.split(r"[\[<>=]", package)[0] for package in environment.packages]
    script = (
        "import json, sys; from importlib.metadata import version; "
        "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    )
    said = _run([str(python), "-c", script, *names], "no versions")
    return ", ".join(f"{name} {version}" for name, version in json.loads(said).items())


def inference_environment() -> dict[str, str]:
    """Return the variables with which an environment's Python finds tools.bench.peers.inference.

    Of this project it finds nothing else that it could import: the rest needs our own packages.
    """
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def ensure_onnx(environment: Environment, file: Path) -> Path:
    """Return the ONNX form of a model file, exported by an environment with PyTorch.

    It is kept in the cache, one for each file, and made anew when the file or the export changes.
    Raises ToolError with the end of what the export said.
    """
    folder = cache_dir() / "peers" / "onnx" / file.stem
    with locked(folder):
        stamp, wanted = folder / _STAMP, _export_fingerprint(environment, file)
        if not stamp.is_file() or stamp.read_text() != wanted:
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True)
            say(f"exporting {file.name} to ONNX")
            module = ["-m", "tools.bench.peers.inference.export"]
            _run(
                [str(interpreter(environment)), *module, str(file), str(folder / "model.onnx")],
                f"{file.name} could not be exported to ONNX",
                timeout=_EXPORT_SECONDS,
            )
            stamp.write_text(wanted)
    return folder / "model.onnx"


def _folder(environment: Environment) -> Path:
    return cache_dir() / "peers" / "environments" / environment.name


def _fingerprint(environment: Environment) -> str:
    return hashlib.sha256(repr((environment.packages, sys.version)).encode()).hexdigest()


def _export_fingerprint(environment: Environment, file: Path) -> str:
    facts = file.stat()
    digest = hashlib.sha256(
        repr((_fingerprint(environment), str(file), facts.st_size, facts.st_mtime_ns)).encode()
    )
    for name in ("export.py", "torch_model.py", "weights.py"):
        digest.update((_INFERENCE / name).read_bytes())
    return digest.hexdigest()


def _run(command: Sequence[str], failed: str, *, timeout: float = _INSTALL_SECONDS) -> str:
    """Run a command that must succeed and return what it printed."""
    try:
        result = run_bounded(command, timeout=timeout, environment=inference_environment())
    except subprocess.TimeoutExpired:
        raise ToolError(f"{failed} within {timeout} s") from None
    if result.code != 0:
        raise ToolError(f"{failed}:\n{tail(result.stdout + result.stderr, lines=15)}")
    return result.stdout
