"""Options of the suite, and the servers that its tests run against.

A test says what it needs by its folder: tests/unit nothing, tests/image an image, tests/contract
a server, tests/runtime a container. Everything that boots something is a fixture here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.recipes.front import build_front
from tests.support.containers import is_bare
from tests.support.requirements import need
from tests.support.runtimes import RUNTIMES, Runtime
from tests.support.server import Server
from tools.common.errors import ToolError, raise_on_sigterm
from tools.engine.docker import run_docker
from tools.facts.images import load_images, local_name
from tools.facts.models import Model, load_models
from tools.facts.paths import CUDA_COMPOSE_FILE
from tools.native.build import SANITIZED
from tools.serving.profile import Running, booted
from tools.weights.hub import fetch_from_hub, models_dir
from tools.weights.recipe import Quantisation
from tools.weights.synthetic import ensure_synthetic

IMAGES, MODELS = load_images(), load_models()
RECIPES = Path(__file__).parent / "recipes"
#: Their verbs make the environments that they need.
ONLY_WHERE_NAMED = (RECIPES, Path(__file__).parent / "deploy")


@dataclass(frozen=True)
class Profile:
    """What one boot serves: an image with a model in a quantisation."""

    model: Model
    quantisation: Quantisation


@dataclass(frozen=True)
class Stack:
    """A booted profile."""

    profile: Profile
    file: Path
    running: Running


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("jina-embeddings-v5")
    group.addoption("--base-url", help="judge the server at this address instead of booting any")
    group.addoption("--model", choices=sorted(MODELS.models), help="what --base-url serves")
    group.addoption("--model-file", type=Path, help="the GGUF file that --base-url serves")
    group.addoption("--quant", default="Q8_0", help="the quantisation that --base-url serves")
    group.addoption("--api-key", help="the key that --base-url or --server-url wants")
    group.addoption("--bare", action="store_true", help="--base-url is llama-server unpatched")
    group.addoption(
        "--weights",
        choices=["synthetic", "real"],
        default="synthetic",
        help="what booted profiles serve (real: downloaded)",
    )
    group.addoption("--image", help="the image under test instead of the locally built one")
    group.addoption(
        "--require",
        action="append",
        default=[],
        help="names separated by commas: needs whose absence fails instead of skips; adds up",
    )
    group.addoption("--es-url", help="the Elasticsearch that -m elasticsearch runs in")
    group.addoption(
        "--es-api-key",
        default=os.environ.get("ES_API_KEY"),
        help="its encoded API key; by default that of the variable ES_API_KEY",
    )
    group.addoption(
        "--es-ca-certs", type=Path, help="the certificate of its authority, a file in PEM"
    )
    group.addoption("--server-url", help="where that Elasticsearch finds the embedding server")
    group.addoption(
        "--runtime", choices=RUNTIMES, default="container", help="how profiles are booted"
    )
    group.addoption("--gpu", action="store_true", help="boot the cuda flavour on an NVIDIA GPU")
    group.addoption(
        "--soak-minutes", default="30", help="how long tests/runtime/test_soak.py loads a server"
    )
    group.addoption(
        "--soak-folder", help="where it leaves its figures and pictures instead of a temporary one"
    )
    group.addoption("--clients", help="the Python that has the clients of tests/recipes")
    group.addoption("--keep", action="store_true", help="leave booted profiles running")


def pytest_configure() -> None:
    """Tidy up after SIGTERM as after Ctrl-C: by itself pytest would leave its containers."""
    raise_on_sigterm()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave tests/recipes and tests/deploy out unless they are named."""
    if collection_path not in ONLY_WHERE_NAMED:
        return None
    named = [(config.invocation_params.dir / each.split("::")[0]).resolve() for each in config.args]
    return not any(each.is_relative_to(collection_path) for each in named) or None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses a server once for each profile, all of one profile on one worker."""
    if "profile" not in metafunc.fixturenames:
        return
    config = metafunc.config
    if config.getoption("--base-url"):
        if not config.getoption("--model"):
            raise pytest.UsageError("--base-url needs --model nano or --model small")
        names = [config.getoption("--model")]
        quantisations = [config.getoption("--quant")]
    else:
        names = [config.getoption("--model")] if config.getoption("--model") else [*MODELS.models]
        quantisations = [MODELS.default_quantisation]
        if metafunc.definition.get_closest_marker("every_quantisation"):
            quantisations = ["Q8_0", "F16"]
    # pytest groups tests by the parameter's place in the list and tells boots apart by its value:
    # the default quantisation's profiles come first in every list, and values compare equal.
    profiles = [f"{name}-{quantisation}" for quantisation in quantisations for name in names]
    metafunc.parametrize(
        "profile",
        [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in profiles],
        indirect=True,
        scope="session",
    )


@pytest.fixture(scope="session")
def profile(request: pytest.FixtureRequest) -> Profile:
    """Return the profile that the test is run for."""
    name, _, quantisation = request.param.partition("-")
    return Profile(MODELS.models[name], quantisation)


@pytest.fixture(scope="session")
def engine(pytestconfig: pytest.Config) -> None:
    """A Docker Engine that answers."""
    runtime = pytestconfig.getoption("--runtime")
    why = f"--runtime {runtime} makes none"
    need(pytestconfig, "container", available=runtime == "container", why=why)
    try:
        answer = run_docker(["version"], timeout=30)
        why = answer.stderr.strip()
    except ToolError as error:
        need(pytestconfig, "docker", available=False, why=str(error))
    else:
        need(pytestconfig, "docker", available=answer.returncode == 0, why=why)


@pytest.fixture(scope="session")
def image(engine: None, pytestconfig: pytest.Config) -> str:
    """The name of the image under test."""
    flavour = "cuda" if pytestconfig.getoption("--gpu") else "cpu"
    name = pytestconfig.getoption("--image") or local_name(IMAGES, IMAGES.images[flavour])
    found = run_docker(["image", "inspect", name], timeout=30).returncode == 0
    why = f"no image {name}; `nox -s build -- {flavour}` makes it"
    need(pytestconfig, "docker", available=found, why=why)
    return name


@pytest.fixture(scope="session")
def front_image(engine: None, pytestconfig: pytest.Config) -> str:
    """The image that has what stands in front of servers and beside them."""
    try:
        return build_front()
    except ToolError as error:
        need(pytestconfig, "front", available=False, why=str(error))
        raise


@pytest.fixture(scope="session")
def weights(profile: Profile, pytestconfig: pytest.Config) -> Path:
    """The model file that the profile serves."""
    if pytestconfig.getoption("--weights") == "synthetic":
        return ensure_synthetic(models_dir(), profile.model, "tiny", profile.quantisation)
    return fetch_from_hub(MODELS, profile.model.name, profile.quantisation)


@pytest.fixture(scope="session")
def stack(
    profile: Profile, weights: Path, image: str, pytestconfig: pytest.Config
) -> Iterator[Stack]:
    """The profile, booted in a container for as long as its tests run."""
    with booted(
        profile.model,
        weights,
        image=image,
        synthetic=pytestconfig.getoption("--weights") == "synthetic",
        overrides=[CUDA_COMPOSE_FILE] if pytestconfig.getoption("--gpu") else [],
        keep=pytestconfig.getoption("--keep"),
    ) as running:
        yield Stack(profile, weights, running)


@pytest.fixture(scope="session")
def native_url(profile: Profile, weights: Path, pytestconfig: pytest.Config) -> Iterator[str]:
    """Where the profile answers, booted as a process for as long as its tests run."""
    gpu = pytestconfig.getoption("--gpu")
    sanitized = pytestconfig.getoption("--runtime") == "sanitized"
    runtime = Runtime(SANITIZED if sanitized else "cuda" if gpu else "cpu", image=None)
    synthetic = pytestconfig.getoption("--weights") == "synthetic"
    with runtime.boot(profile.model, weights, gpu=gpu, synthetic=synthetic) as running:
        yield running.base_url


@pytest.fixture(scope="session")
def server(profile: Profile, request: pytest.FixtureRequest) -> Server:
    """The server that the contract judges: the one at --base-url, or a booted profile's."""
    config = request.config
    base_url = config.getoption("--base-url")
    synthetic = config.getoption("--weights") == "synthetic"
    if base_url:
        file = config.getoption("--model-file")
        return Server(
            base_url,
            profile.model,
            file,
            config.getoption("--api-key"),
            synthetic,
            profile.quantisation,
            config.getoption("--bare"),
        )
    if config.getoption("--runtime") != "container":
        address, bare = request.getfixturevalue("native_url"), False
    else:
        address = request.getfixturevalue("stack").running.base_url
        bare = is_bare(request.getfixturevalue("image"))
    file = request.getfixturevalue("weights")
    return Server(address, profile.model, file, None, synthetic, profile.quantisation, bare)
