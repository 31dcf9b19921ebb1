"""Where the inputs of a build come from: each from the first of its pinned origins that answers.

An origin that cannot be reached may be replaced by the next one, loudly. An origin that answers
with a refusal or with other bytes than the pinned ones never is.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from tools.common.console import loud, say
from tools.common.errors import SourceFault, ToolError
from tools.common.web import Unreachable
from tools.facts.images import (
    BaseOrigin,
    CudaImages,
    CudaOrigin,
    GitOrigin,
    ImageOrigin,
    Images,
    SourceOrigin,
    load_images,
)
from tools.origins.bootstrap import bootstrap_base
from tools.origins.git import fetch_git
from tools.origins.pull import pull_base
from tools.origins.sdist import fetch_sdist

Origin = TypeVar("Origin", SourceOrigin, BaseOrigin, CudaOrigin)
Result = TypeVar("Result")

AUTO = "auto"
FIRST_ONLY = "first-only"


@dataclass(frozen=True)
class Choice:
    """Which origins a person allows: those named for their inputs, and how to treat the rest."""

    first_only: bool = False
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resolved(Generic[Origin, Result]):
    """An input as it was brought here.

    ``value`` is a source's folder, a base's reference, or a CUDA toolkit's images.
    """

    origin: Origin
    value: Result


@dataclass(frozen=True)
class CudaBases:
    """NVIDIA's images: what to compile in, and what to build the image on."""

    devel: Resolved[BaseOrigin, str]
    runtime: Resolved[BaseOrigin, str]


def add_origin_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--origin``, which may be repeated; its values go to :func:`choose`."""
    parser.add_argument(
        "--origin",
        action="append",
        default=[],
        metavar="NAME",
        help="auto (the default): each input comes from the first of its origins that answers; "
        "first-only: from its first origin or not at all; or an origin's name, for its own input",
    )


def choose(options: Sequence[str]) -> Choice:
    """Return what the values of ``--origin`` mean together.

    Raises ToolError for an unknown name, and for two names of one input.
    """
    images = load_images()
    names = tuple(option for option in options if option not in (AUTO, FIRST_ONLY))
    inputs = (images.llama_cpp, images.base, images.cuda)
    known = [[origin.name for origin in origins] for origins in inputs]
    for name in names:
        if not any(name in group for group in known):
            listed = ", ".join([AUTO, FIRST_ONLY, *(each for group in known for each in group)])
            raise ToolError(f"--origin {name}: there is no such origin; there are {listed}")
    for group in known:
        chosen = [name for name in names if name in group]
        if len(set(chosen)) > 1:
            raise ToolError(f"--origin: {' and '.join(chosen)} are origins of one input; name one")
    return Choice(first_only=FIRST_ONLY in options, names=names)


def resolve_source(images: Images, choice: Choice) -> Resolved[SourceOrigin, Path]:
    """Bring llama.cpp's source tree here and return its folder.

    Raises ToolError when no allowed origin can be reached, or one gives something else.
    """

    def bring(origin: SourceOrigin) -> Path:
        return fetch_git(origin) if isinstance(origin, GitOrigin) else fetch_sdist(origin)

    origin, path = _first_that_answers("llama.cpp", images.llama_cpp, choice, bring)
    return Resolved(origin, path)


@contextmanager
def naming_origin(origin: SourceOrigin, command: str) -> Iterator[None]:
    """Say in a SourceFault which llama.cpp does not build, and how to build the next one.

    ``command`` is what builds. Nothing falls back by itself: a source that was reached and does not
    build is a fault to be seen.
    """
    try:
        yield
    except SourceFault as error:
        said = (
            f"{error}\nllama.cpp is of origin {origin.name}: {origin.repository} at "
            f"{origin.commit[:12]}"
        )
        names = [each.name for each in load_images().llama_cpp]
        following = names[names.index(origin.name) + 1 :] if origin.name in names else names
        if following:
            said += f". The next origin: `{command} --origin {following[0]}`"
        raise SourceFault(said) from None


def resolve_base(images: Images, choice: Choice, platform: str) -> Resolved[BaseOrigin, str]:
    """Bring the base image of a platform into the engine and return its reference.

    Raises ToolError when no allowed origin can be reached, or one gives something else.
    """

    def bring(origin: BaseOrigin) -> str:
        if isinstance(origin, ImageOrigin):
            return pull_base(origin, platform)
        return bootstrap_base(origin, platform)

    what = f"the base image for {platform}"
    origin, reference = _first_that_answers(what, images.base, choice, bring)
    return Resolved(origin, reference)


def resolve_cuda(
    images: Images, choice: Choice, platform: str
) -> Resolved[CudaOrigin, CudaBases | None]:
    """Bring NVIDIA's images of the CUDA toolkit into the engine.

    None stands for them where the toolkit comes in packages of the base image's archive. Raises
    ToolError when no allowed origin can be reached, or one gives something else.
    """

    def bring(origin: CudaOrigin) -> CudaBases | None:
        if not isinstance(origin, CudaImages):
            return None
        devel = Resolved(origin.devel, pull_base(origin.devel, platform))
        return CudaBases(devel, Resolved(origin.runtime, pull_base(origin.runtime, platform)))

    origin, bases = _first_that_answers("the CUDA toolkit", images.cuda, choice, bring)
    return Resolved(origin, bases)


def _first_that_answers(
    what: str,
    origins: Sequence[Origin],
    choice: Choice,
    bring: Callable[[Origin], Result],
) -> tuple[Origin, Result]:
    """Return the first allowed origin that can be reached, and what it brought."""
    allowed = _allowed(origins, choice)
    failures: list[str] = []
    for number, origin in enumerate(allowed):
        try:
            result = bring(origin)
        except Unreachable as error:
            failures.append(f"{origin.name}: {error}")
            if number + 1 < len(allowed):
                loud(
                    f"origin {origin.name} of {what} is unreachable ({error}); "
                    f"using {allowed[number + 1].name}"
                )
        else:
            say(f"{what} is from origin {origin.name}")
            return origin, result
    if len(allowed) == 1 and len(origins) > 1:
        raise ToolError(
            f"{what}: origin {failures[0]}. Make it reachable, or let another origin take its "
            "place with `--origin auto`"
        )
    raise ToolError(
        f"{what} cannot be had, none of its origins is reachable:\n  "
        + "\n  ".join(failures)
        + "\nCheck the network and the proxy settings; pip (PIP_INDEX_URL) and apt may be pointed "
        "at mirrors, which are used here too"
    )


def _allowed(origins: Sequence[Origin], choice: Choice) -> list[Origin]:
    named = [origin for origin in origins if origin.name in choice.names]
    if named:
        return named
    return list(origins[:1]) if choice.first_only else [each for each in origins if each.auto]
