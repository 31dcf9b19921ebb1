"""Every pinned source of llama.cpp takes our patches, links, boots both models and is right.

One variant of the CPU kernels is compiled, so that all of them together take minutes. The fork
cannot be reached from everywhere. Its stand-in is the release that it is based on, together with
what the fork calls in tools/mtmd and tools/server (github.com/jina-ai/llama.cpp).
"""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest

from tests.support.containers import docker, label
from tests.support.judge import judge
from tests.support.requirements import need
from tools.common.errors import SourceFault
from tools.common.web import Unreachable
from tools.engine.docker import run_docker
from tools.facts.images import GitOrigin, Images, SdistOrigin, SourceOrigin, load_images
from tools.facts.paths import ROOT
from tools.images.build import build_image
from tools.images.labels import SOURCE_ORIGIN_LABEL, VARIANTS_LABEL
from tools.images.recipe import patch_names
from tools.origins.choose import Choice
from tools.origins.git import fetch_git
from tools.origins.sdist import fetch_sdist

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),  # a first build is minutes on two cores, more beside other work
    pytest.mark.xdist_group("origins"),
    pytest.mark.usefixtures("engine"),
]

IMAGES = load_images()
#: The age of the fork's pinned commit.
AGE = "pypi-0.3.21"
OF_THE_FORKS_AGE = {"fork", AGE, "pypi-0.3.18"}
#: What two files of the fork have and mainline's have not, as far as compiling and linking go.
CALLERS = ("server/server-common.cpp", "mtmd/mtmd-helper.cpp")
CALLS = """
#include "../../src/llama-model.h"
float first_number_of_the_embedding_table_PLACE(const llama_model * model) {
    return ggml_get_f32_1d(model->get_tensor("token_embd.weight"), 0);
}
"""


@pytest.fixture
def tag() -> Iterator[str]:
    """A name for an image, which is removed at the end."""
    name = f"{IMAGES.repository}:origin-{secrets.token_hex(4)}"
    yield name
    run_docker(["image", "rm", name], timeout=60)


def build(images: Images, origin: SourceOrigin, tag: str, patches: list[str] | None = None) -> str:
    return build_image(
        images,
        images.images["cpu"],
        Choice(names=(origin.name,)),
        tag=tag,
        patches=patches,
        one_variant=True,
    )


def judge_both_models(image: str) -> None:
    for model in ("nano", "small"):
        judge(image, model, "Q8_0")


@pytest.mark.parametrize("origin", IMAGES.llama_cpp, ids=lambda origin: origin.name)
def test_an_origin_builds_boots_and_is_right(
    origin: SourceOrigin, tag: str, pytestconfig: pytest.Config
) -> None:
    if isinstance(origin, GitOrigin):
        try:
            fetch_git(origin)
        except Unreachable as error:
            need(pytestconfig, "git-origins", available=False, why=str(error))
    image = build(IMAGES, origin, tag)
    assert label(image, SOURCE_ORIGIN_LABEL) == origin.name
    assert label(image, VARIANTS_LABEL) == "one"
    assert settings_known(image) == (set() if origin.name in OF_THE_FORKS_AGE else newer_settings())
    judge_both_models(image)


def newer_settings() -> set[str]:
    """What docs/develop/origins.md says that servers of the fork's age lack."""
    page = (ROOT / "docs" / "develop" / "origins.md").read_text()
    (lacking,) = re.findall(r"## What the fork's age lacks\n(.*?)\n## ", page, re.DOTALL)
    return set(re.findall(r"`(LLAMA_ARG_\w+)`", lacking)) - {"LLAMA_ARG_API_KEY_FILE"}


def settings_known(image: str) -> set[str]:
    """Those of them that the server's own help has."""
    said = docker("run", "--rm", image, "--help")
    return {name for name in newer_settings() if re.search(rf"\b{name}\b", said)}


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    command = ["git", *identity, *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def stand_in(tmp_path: Path) -> Images:
    """The catalogue with the fork's stand-in, a git repository on this disk, as the fork."""
    age = next(each for each in IMAGES.llama_cpp if each.name == AGE)
    assert isinstance(age, SdistOrigin)
    tree = copytree(fetch_sdist(age), tmp_path / "fork", symlinks=True)
    # The archive was made of a checkout; this file points to a folder that it does not hold.
    (tree / ".git").unlink(missing_ok=True)
    for place in CALLERS:
        with (tree / "tools" / place).open("a") as file:
            file.write(CALLS.replace("PLACE", Path(place).parent.name))
    git(tree, "init", "--quiet", "--initial-branch", "made-here")
    git(tree, "add", "--all", "--force")
    git(tree, "commit", "--quiet", "--message", "the fork's stand-in")
    fork = GitOrigin("fork", True, str(tree), git(tree, "rev-parse", "HEAD"), "made-here")
    return replace(IMAGES, llama_cpp=(fork, *IMAGES.llama_cpp[1:]))


def test_a_source_that_calls_into_the_cpu_backend_links_and_is_right(
    stand_in: Images, tag: str
) -> None:
    """As the fork's does; no backend is linked, all are loaded when the server starts."""
    judge_both_models(build(stand_in, stand_in.llama_cpp[0], tag))


def test_what_the_linker_lacks_is_named_with_the_next_origin(stand_in: Images, tag: str) -> None:
    without = [name for name in patch_names() if name != "0011-cpu-symbols"]
    with pytest.raises(SourceFault) as fault:
        build(stand_in, stand_in.llama_cpp[0], tag, without)
    said = str(fault.value)
    assert "define ggml_get_f32_1d\n" in said
    assert "origin fork" in said
    assert f"--origin {IMAGES.llama_cpp[1].name}`" in said
