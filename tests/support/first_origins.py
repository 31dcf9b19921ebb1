"""Every first origin of the catalogue on loopback, and the facts that lead there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.support.git_server import GitServer, commit_tree, git_server
from tests.support.hub_server import Hub, HubRepository, hub_server
from tests.support.origins import first_of
from tests.support.package_index import package_index
from tests.support.registry import LocalRegistry, local_registry
from tests.support.registry_images import hold_image, tiny_image
from tests.support.scratch import Facts
from tools.common.downloads import file_sha256
from tools.engine.docker import engine_platform
from tools.facts.images import (
    BootstrapOrigin,
    CudaImages,
    GitOrigin,
    ImageOrigin,
    Images,
    SdistOrigin,
    load_images,
)
from tools.facts.models import Model, load_models
from tools.origins.bootstrap import bootstrap_base
from tools.origins.sdist import fetch_sdist
from tools.weights.hub import HubFile, models_dir
from tools.weights.recipe import QUANTISATIONS
from tools.weights.synthetic import ensure_synthetic

#: What the tiny stand-ins of images are for, as NVIDIA's are.
_TINY_PLATFORM = "linux/amd64"


@dataclass(frozen=True)
class FirstOrigins:
    """The servers, a package index where no release is newer than the pinned one, and the facts."""

    git: GitServer
    registry: LocalRegistry
    hub: Hub
    index_url: str
    facts: Facts


@contextmanager
def first_origins(folder: Path, registry_program: Path) -> Iterator[FirstOrigins]:
    """Serve llama.cpp's source, the base and the models from where they come first.

    The source is that of the source distribution that takes its place by default, the base is
    bootstrapped, and the models are synthetic under the real names; of NVIDIA's images and those
    of monitoring there are tiny stand-ins.
    Raises ToolError where the source or the base cannot be had.
    """
    images = load_images()
    sdist = first_of(SdistOrigin, (each for each in images.llama_cpp if each.auto))
    tree = fetch_sdist(sdist)
    platform = engine_platform()
    base = bootstrap_base(first_of(BootstrapOrigin, images.base), platform)
    repositories = {name: _files(model) for name, model in load_models().models.items()}
    with ExitStack() as stack:
        source = first_of(GitOrigin, images.llama_cpp)
        commit = commit_tree(tree, folder / "git" / "llama.cpp", source.branch)
        server = stack.enter_context(git_server(folder / "git"))
        registry = stack.enter_context(local_registry(registry_program, folder / "registry"))
        devel, runtime = _cuda(images)
        tiny = stack.enter_context(tiny_image(folder, _TINY_PLATFORM))
        facts = Facts(
            source=replace(source, repository=f"{server.url}/llama.cpp", commit=commit),
            base=_held(registry, first_of(ImageOrigin, images.base), base, platform),
            cuda_devel=_held(registry, devel, tiny, _TINY_PLATFORM),
            cuda_runtime=_held(registry, runtime, tiny, _TINY_PLATFORM),
            monitoring=tuple(
                _held(registry, image, tiny, _TINY_PLATFORM) for image in images.monitoring
            ),
            models={
                name: {
                    file: HubFile(file_sha256(path), path.stat().st_size)
                    for file, path in repository.files.items()
                }
                for name, repository in repositories.items()
            },
        )
        hub = stack.enter_context(hub_server([*repositories.values()]))
        index_url = stack.enter_context(package_index(sdist))
        yield FirstOrigins(server, registry, hub, index_url, facts)


def _files(model: Model) -> HubRepository:
    """Return the model's repository: for a quantisation that is never synthetic, another's file."""
    made: dict[str, Path] = {
        each: ensure_synthetic(models_dir(), model, "tiny", each) for each in QUANTISATIONS
    }
    files = {
        file.name: made.get(quantisation, made[QUANTISATIONS[0]])
        for quantisation, file in model.files.items()
    }
    return HubRepository(model.repository, model.revision, files)


def _cuda(images: Images) -> tuple[ImageOrigin, ImageOrigin]:
    cuda = first_of(CudaImages, images.cuda)
    return cuda.devel, cuda.runtime


def _held(registry: LocalRegistry, origin: ImageOrigin, local: str, platform: str) -> ImageOrigin:
    """Let the registry have a local image as what ``origin`` names; where it is then."""
    digest = hold_image(registry.host, origin.reference, local, platform)
    return replace(origin, reference=f"{registry.host}/{origin.reference}", digest=digest)
