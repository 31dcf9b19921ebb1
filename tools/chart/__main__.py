"""Check and package the Helm chart: `nox -s chart`.

Every variant of deploy/helm/variants.yaml is linted. For each version of Kubernetes it is rendered,
validated strictly against that version's own schemas, and judged by Pod Security's "restricted".
Then the chart is packaged, twice, into the same bytes. Nothing asks a cluster or a network.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.chart.helm import lint, package, render
from tools.chart.restricted import faults
from tools.chart.validate import kubernetes_versions, validate
from tools.chart.variants import Variant, load_variants
from tools.common.console import say
from tools.common.errors import ToolError, run_verb
from tools.common.files import temporary_folder
from tools.facts.paths import ROOT
from tools.images.version import read_revision

PACKAGES = ROOT / "reports" / "chart"


def check(variant: Variant, seen: set[str]) -> None:
    """Lint, render, validate and judge one variant for every version that it is for.

    ``seen`` are the documents that were right for a version already, which variants share. Raises
    ToolError naming the variant.
    """
    versions = variant.versions(kubernetes_versions())
    try:
        lint(variant.values, versions[0])
        for version in versions:
            for document in render(variant.values, version):
                key = f"{version} {json.dumps(document, sort_keys=True)}"
                if key in seen:
                    continue
                validate(document, version)
                if found := faults(document, version):
                    raise ToolError(
                        f'{document["kind"]} {document["metadata"]["name"]}: "restricted" of '
                        f"Kubernetes {version} refuses it: {'; '.join(found)}"
                    )
                seen.add(key)
    except ToolError as error:
        raise ToolError(f"{variant.name}: {error}") from None
    say(f"{variant.name}: right for Kubernetes {versions[0]} to {versions[-1]}")


def packaged(folder: Path) -> Path:
    """Package the chart into ``folder``, and return the file.

    Raises ToolError where a second time gives other bytes.
    """
    time = read_revision().time
    made = package(folder, time)
    with temporary_folder() as again:
        if package(again, time).read_bytes() != made.read_bytes():
            raise ToolError(f"{made.name}, packaged twice, has other bytes the second time")
    return made


def main(arguments: Sequence[str]) -> None:
    """Check every variant, then leave the package in reports/chart."""
    parser = argparse.ArgumentParser(prog="nox -s chart --", description=__doc__)
    parser.parse_args(arguments)
    seen: set[str] = set()
    for variant in load_variants():
        check(variant, seen)
    PACKAGES.mkdir(parents=True, exist_ok=True)
    for old in PACKAGES.glob("*.tgz"):
        old.unlink()
    say(f"packaged: {packaged(PACKAGES).relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(run_verb(main))
