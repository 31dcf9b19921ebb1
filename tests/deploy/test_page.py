"""What docs/operate/kubernetes.md shows is of the chart, and of what is tested."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.deploy.rendered import VARIANTS, rendered
from tests.recipes.program import blocks
from tools.chart.variants import OLDEST
from tools.facts.paths import ROOT

PAGE = "operate/kubernetes.md"
TEXT = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: str(block.splitlines()[0]))
def test_a_block_of_values_is_taken(block: str) -> None:
    assert rendered(yaml.safe_load(block)).one("Deployment")


def test_the_page_shows_as_many_values_as_it_has_yaml() -> None:
    assert len(BLOCKS) > 7
    assert f"for Kubernetes {OLDEST} and newer" in TEXT


def test_the_two_releases_are_those_that_are_tested() -> None:
    for name, block in zip(
        ("nano", "small"), blocks(PAGE, "Two models behind one host", "yaml"), strict=True
    ):
        said, tested = yaml.safe_load(block), VARIANTS[f"behind-a-host-{name}"].values
        assert said["model"] == tested.get("model", "nano")
        assert said["ingress"].items() <= tested["ingress"].items()


def test_the_label_that_it_shows_is_like_the_one_that_is_made() -> None:
    (label,) = re.findall(r"such as `(nano-\S+)`", TEXT)
    made = rendered().one("Service")["spec"]["selector"]["vectors"]
    assert re.sub("[0-9a-f]{8}$", "", made) == re.sub("[0-9a-f]{8}$", "", label)
