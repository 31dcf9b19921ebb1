"""Each host of the online path in turn is gone, silent, or answers what is of no use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.bad_host import Fault, bad_host
from tests.support.containers import label
from tests.support.file_server import Answer
from tests.support.first_origins import FirstOrigins
from tests.support.origins import first_of
from tests.support.scratch import Facts, Ran, Scratch, scratch_clone
from tools.engine.docker import engine_platform
from tools.facts.images import SdistOrigin, load_images
from tools.facts.models import load_models
from tools.images.labels import BASE_ORIGIN_LABEL, SOURCE_ORIGIN_LABEL
from tools.origins.sdist import fetch_sdist

# One set of servers.
pytestmark = [pytest.mark.xdist_group("online"), pytest.mark.timeout(1800)]

IMAGES, MODELS = load_images(), load_models()
NANO = MODELS.models["nano"]
FILE = NANO.files[MODELS.default_quantisation].name
#: A digest of nothing: what the engine has of the right one, it need not be given again.
NOWHERE = f"sha256:{'5' * 64}"


@dataclass(frozen=True)
class Input:
    """An input of a build: what it is called, its origins by default, the label that says which."""

    what: str
    first: str
    second: str
    label: str


class Build(Protocol):
    """Builds the image where git or the registry is at another address."""

    def __call__(self, host: str, address: str, *options: str) -> Ran: ...


def input_of(host: str) -> Input:
    """What comes from a host of the online path."""
    if host == "git":
        first, second, *_ = (each for each in IMAGES.llama_cpp if each.auto)
        return Input("llama.cpp", first.name, second.name, SOURCE_ORIGIN_LABEL)
    first_base, second_base, *_ = (each for each in IMAGES.base if each.auto)
    what = f"the base image for {engine_platform()}"
    return Input(what, first_base.name, second_base.name, BASE_ORIGIN_LABEL)


def moved(facts: Facts, host: str, address: str) -> Facts:
    """The same facts, but for where git or the registry is, and what is asked of a registry."""
    if host == "git":
        return replace(
            facts, source=replace(facts.source, repository=f"http://{address}/llama.cpp")
        )
    name = facts.base.reference.partition("/")[2]
    return replace(facts, base=replace(facts.base, reference=f"{address}/{name}", digest=NOWHERE))


@pytest.fixture(scope="session")
def faulty(origins: FirstOrigins, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    """A clone whose facts each test writes for itself."""
    folder = tmp_path_factory.mktemp("faulty")
    with scratch_clone(folder, origins.facts, origins.hub.url) as made:
        yield made


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache folder that has llama.cpp's second origin, which need not be downloaded again."""
    sdist = first_of(SdistOrigin, (each for each in IMAGES.llama_cpp if each.auto))
    sources = tmp_path / "cache" / "sources"
    sources.mkdir(parents=True)
    (sources / sdist.sha256).symlink_to(fetch_sdist(sdist))
    return sources.parent


@pytest.fixture
def build(faulty: Scratch, origins: FirstOrigins, cache: Path) -> Build:
    def run(host: str, address: str, *options: str) -> Ran:
        faulty.write(moved(origins.facts, host, address))
        # What git has given once need not be asked for again.
        variables = {"JINA_CACHE_DIR": str(cache)} if host == "git" else {}
        return faulty.nox("build", "cpu", *options, timeout=1500, **variables)

    return run


def failed(ran: Ran, named: str) -> None:
    """It ended as an expected failure does: one sentence that names the host or the file."""
    assert ran.code == 1, ran.said
    assert ran.loud == [], ran.said
    assert named in ran.error, ran.said
    assert "\n" not in ran.error, ran.said
    assert "Traceback" not in ran.said, ran.said


# ------------------------------------------------------------------ what images are made of


@pytest.mark.parametrize("fault", ["closed", "silent"])
@pytest.mark.parametrize("host", ["git", "registry"])
def test_an_input_that_cannot_be_reached_is_loudly_replaced(
    host: str, fault: Fault, build: Build, faulty: Scratch
) -> None:
    what = input_of(host)
    image = f"{faulty.name}:{host}-{fault}"
    with bad_host(fault) as address:
        ran = build(host, address, "--tag", image)
    assert ran.code == 0, ran.said
    (line,) = ran.loud
    assert line.startswith(f"!! origin {what.first} of {what.what} is unreachable ("), line
    assert "127.0.0.1" in line
    assert line.endswith(f"using {what.second}")
    assert label(image, what.label) == what.second


@pytest.mark.parametrize("host", ["git", "registry"])
def test_first_origins_only_means_that_nothing_is_replaced(host: str, build: Build) -> None:
    with bad_host("closed") as address:
        ran = build(host, address, "--origin", "first-only")
    failed(ran, "127.0.0.1")
    what = input_of(host)
    assert ran.error.startswith(f"{what.what}: origin {what.first}: "), ran.said


@pytest.mark.parametrize("fault", ["missing", "portal", "noise"])
@pytest.mark.parametrize("host", ["git", "registry"])
def test_an_answer_of_no_use_is_never_covered_up(host: str, fault: Fault, build: Build) -> None:
    with bad_host(fault) as address:
        ran = build(host, address)
    failed(ran, address)


def test_what_the_host_no_longer_has_is_never_covered_up(
    faulty: Scratch, origins: FirstOrigins, cache: Path
) -> None:
    facts = origins.facts
    without_commit = replace(facts, source=replace(facts.source, commit="5" * 40))
    without_base = replace(facts, base=replace(facts.base, digest=NOWHERE))
    for lacking, named in (
        (without_commit, facts.source.repository),
        (without_base, facts.base.reference),
    ):
        faulty.write(lacking)
        failed(faulty.nox("build", JINA_CACHE_DIR=str(cache)), named)


@pytest.mark.parametrize("status", [200, 404])
def test_a_git_server_that_only_begins_as_one_is_never_covered_up(
    status: int, faulty: Scratch, origins: FirstOrigins, cache: Path
) -> None:
    faulty.write(origins.facts)
    origins.git.broken = status
    try:
        ran = faulty.nox("build", JINA_CACHE_DIR=str(cache))
    finally:
        origins.git.broken = 0
    failed(ran, origins.facts.source.repository)


# ------------------------------------------------------------------ models

#: What there is to do where the Hub cannot be reached.
ADVICE = ("Set HF_ENDPOINT", "yourself", "`nox -s demo`")


@pytest.mark.parametrize(
    "fault",
    [
        "closed",
        # Half a minute of silence, four times.
        pytest.param("silent", marks=pytest.mark.slow),
    ],
)
def test_without_the_hub_it_says_what_to_do(fault: Fault, scratch: Scratch, tmp_path: Path) -> None:
    with bad_host(fault) as address:
        ran = scratch.nox(
            "models", "nano", HF_ENDPOINT=f"http://{address}", JINA_MODELS_DIR=str(tmp_path)
        )
    failed(ran, address)
    assert [advice for advice in ADVICE if advice not in ran.error] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", ["missing", "portal", "noise"])
def test_a_hub_that_answers_nonsense_is_named(
    fault: Fault, scratch: Scratch, tmp_path: Path
) -> None:
    with bad_host(fault) as address:
        ran = scratch.nox(
            "models", "nano", HF_ENDPOINT=f"http://{address}", JINA_MODELS_DIR=str(tmp_path)
        )
    failed(ran, address)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", ["closed", "missing", "portal"])
def test_a_host_of_files_that_fails_is_said_without_its_signature(
    fault: Fault, scratch: Scratch, origins: FirstOrigins, tmp_path: Path
) -> None:
    api = origins.hub.api
    path = f"/{NANO.repository}/resolve/{NANO.revision}/{FILE}"
    right = api.answers[path]
    with bad_host(fault) as address:
        location = {"Location": f"http://{address}/file?signature=secret"}
        api.put(path, Answer(status=302, headers=location))
        try:
            ran = scratch.nox("models", "nano", JINA_MODELS_DIR=str(tmp_path))
        finally:
            api.put(path, *right)
    failed(ran, FILE)
    assert "secret" not in ran.said
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ pins


@pytest.mark.parametrize("host", ["git", "registry", "hub"])
def test_a_page_is_no_newer_pin(host: str, faulty: Scratch, origins: FirstOrigins) -> None:
    """Nor is it one of the same age: `--check` would say so."""
    with bad_host("portal") as address:
        hub = f"http://{address}" if host == "hub" else origins.hub.url
        faulty.write(origins.facts if host == "hub" else moved(origins.facts, host, address))
        ran = faulty.nox("pins", HF_ENDPOINT=hub, PIP_INDEX_URL=origins.index_url)
    failed(ran, address)
    assert ran.error.endswith("No pin was changed"), ran.said
