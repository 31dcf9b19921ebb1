"""Where helm cannot be had, and where a variant is not one, a person reads why."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from tools.chart import helm
from tools.chart.variants import OLDEST, Variant, load_variants
from tools.common.errors import ToolError


def test_a_machine_that_the_package_has_no_helm_for_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(ToolError, match=r"is for Linux on x86-64, and this is .* on aarch64"):
        helm.find_helm()


def test_what_installs_the_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(helm, "files", missing)
    with pytest.raises(ToolError, match=f"{helm.PACKAGE} is not installed; `nox -s chart`"):
        helm.find_helm()


def test_a_variant_is_for_its_own_kubernetes_and_all_newer_ones() -> None:
    known = ["1.9", "1.25", "1.30", "1.31"]
    assert Variant("a", {}, "1.30").versions(known) == ["1.30", "1.31"]
    assert Variant("a", {}, OLDEST).versions(known) == ["1.25", "1.30", "1.31"]


def test_a_misspelled_key_of_a_variant_is_named(tmp_path: Path) -> None:
    file = tmp_path / "variants.yaml"
    file.write_text("mine: {value: {}}\n")
    with pytest.raises(ToolError, match="mine has the unknown keys value"):
        load_variants(file)


def test_the_variants_are_each_another() -> None:
    values = [repr(each.values) for each in load_variants()]
    assert len(values) == len(set(values))
