"""Which weights and image every verb that serves takes, and what it calls them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.file_server import closed_port
from tools.common.errors import ToolError
from tools.facts.images import Image
from tools.facts.models import FROM_HUB, Model, load_models
from tools.native import __main__ as native
from tools.native.build import Build
from tools.search import sizes
from tools.search.__main__ import main as search
from tools.search.elasticsearch import run as elasticsearch
from tools.search.postgresql import run as postgresql
from tools.serving import bake, demo, options, profile, up

MODELS = load_models()
NANO = MODELS.models["nano"]
REAL_NAME = NANO.files[MODELS.default_quantisation].name

DSN = "postgresql://nobody@127.0.0.1/x"

VERBS: dict[str, Callable[[Sequence[str]], None]] = {
    "demo": demo.main,
    "up": lambda more: up.main(["up", "nano", *more]),
    "bake": lambda more: bake.main(["nano", *more]),
    "sizes": lambda more: search(["sizes", *more]),
    "native": lambda more: native.main(["serve", "nano", *more]),
    "elasticsearch": lambda more: search(["elasticsearch", *more]),
    "postgresql": lambda more: search(["postgresql", "--dsn", DSN, *more]),
}


class Served(Exception):  # noqa: N818 - it ends a verb where it would serve, which is no error
    """What a verb is about to serve."""

    def __init__(self, model: Model, file: Path, *, synthetic: bool, image: str | None) -> None:
        super().__init__(file)
        self.model = model
        self.file = file
        self.synthetic = synthetic
        self.image = image


@dataclass
class Machine:
    """An engine that builds at once; a verb ends where it would boot what it chose."""

    folder: Path
    built: list[str] = field(default_factory=list)

    def build_image(self, _images: object, image: Image, _choice: object, **_: object) -> str:
        self.built.append(image.name)
        return f"built:{image.name}"

    @staticmethod
    def serve(model: Model, file: Path, *more: Any, synthetic: bool, **others: Any) -> Any:
        raise Served(
            model, file, synthetic=synthetic, image=others.get("image") or (*more, None)[0]
        )


@contextmanager
def _connected(_dsn: str) -> Iterator[None]:
    yield None


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine from which nothing can be downloaded, its models folder the test's own."""
    machine = Machine(tmp_path)
    monkeypatch.setenv("JINA_MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("JINA_IMAGE", raising=False)
    monkeypatch.setattr("tools.common.web.PAUSES", ())
    monkeypatch.setattr(options, "ensure_engine", lambda: None)
    monkeypatch.setattr(options, "build_image", machine.build_image)
    for module in (demo, sizes, postgresql):
        monkeypatch.setattr(module, "booted", machine.serve)
    monkeypatch.setattr(up, "model_environment", machine.serve)
    monkeypatch.setattr(
        bake,
        "bake",
        lambda _models, model, file, server, _name, **more: machine.serve(
            model, file, server, **more
        ),
    )
    monkeypatch.setattr(elasticsearch, "ensure_engine", lambda: None)
    monkeypatch.setattr(elasticsearch, "pull", lambda _: None)
    monkeypatch.setattr(
        elasticsearch,
        "booted_stack",
        lambda model, weights, image, **_: machine.serve(
            model, weights.file, synthetic=weights.synthetic, image=image
        ),
    )
    monkeypatch.setattr(postgresql, "connected", _connected)
    monkeypatch.setattr(native, "find_build", lambda _: Build(tmp_path, {}))
    monkeypatch.setattr(
        native, "native_booted", lambda _server, *more, **others: machine.serve(*more, **others)
    )
    return machine


@pytest.mark.parametrize("verb", VERBS)
def test_a_file_under_the_real_name_is_not_served_unverified(verb: str, machine: Machine) -> None:
    """Eight bytes lie there; before, two verbs booted them as the real model."""
    (machine.folder / REAL_NAME).write_bytes(b"8 bytes.")
    with pytest.raises(ToolError, match=f"cannot download {REAL_NAME}"):
        VERBS[verb](["--weights", "real"])


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "demo"])
def test_weights_are_real_unless_asked_for_otherwise(verb: str, machine: Machine) -> None:
    with pytest.raises(ToolError, match=f"cannot download {REAL_NAME}"):
        VERBS[verb]([])


@pytest.mark.parametrize("verb", VERBS)
def test_synthetic_weights_are_called_so(verb: str, machine: Machine) -> None:
    (machine.folder / REAL_NAME).write_bytes(b"8 bytes.")
    with pytest.raises(Served) as served:
        VERBS[verb](["--weights", "synthetic", "--quant", "F16"])
    assert served.value.synthetic
    assert served.value.file.name == "synthetic-nano-tiny-F16.gguf"


@pytest.mark.parametrize("verb", VERBS)
def test_a_quantisation_that_is_not_made_here_is_refused(verb: str, machine: Machine) -> None:
    with pytest.raises(ToolError, match="--quant Q4_K_M: synthetic weights are made in Q8_0 or"):
        VERBS[verb](["--weights", "synthetic", "--quant", "Q4_K_M"])


@pytest.mark.parametrize("given", ["option", "variable"])
@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("native", "up")])
def test_an_image_that_is_named_is_not_built(
    verb: str, given: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--image", "of-mine:1"] if given == "option" else []
    if given == "variable":
        monkeypatch.setenv("JINA_IMAGE", "of-mine:1")
    with pytest.raises(Served) as served:
        VERBS[verb](["--weights", "synthetic", *words])
    assert served.value.image == "of-mine:1"
    assert machine.built == []


WITH_TASKS = ("up", "bake", "native")


@pytest.mark.parametrize("verb", WITH_TASKS)
def test_a_variant_without_a_revision_is_refused_with_what_to_do(
    verb: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpinned = replace(NANO.variants["clustering"], revision=FROM_HUB)
    nano = replace(NANO, variants={"clustering": unpinned})
    known = replace(MODELS, models={"nano": nano})
    for module in (up, bake, native):
        monkeypatch.setattr(module, "load_models", lambda: known)
    (machine.folder / unpinned.files["Q8_0"].name).write_bytes(b"8 bytes.")
    with pytest.raises(ToolError, match=r"no revision of jinaai/.*clustering.*`nox -s pins`"):
        VERBS[verb](["--task", "clustering"])


@pytest.mark.parametrize("verb", WITH_TASKS)
def test_a_variant_is_booted_by_its_task(verb: str, machine: Machine) -> None:
    with pytest.raises(Served) as served:
        VERBS[verb](["--task", "clustering", "--weights", "synthetic"])
    assert served.value.synthetic
    assert served.value.model.task == "clustering"
    assert served.value.file.name == "synthetic-nano-tiny-Q8_0.gguf"


def test_a_variants_boot_says_its_task_and_has_its_name() -> None:
    variant = NANO.variants["clustering"]
    real = profile.model_environment(variant, Path("/models/x.gguf"), synthetic=False)
    made = profile.model_environment(variant, Path("/models/x.gguf"), synthetic=True)
    assert real["JINA_TASK"] == made["JINA_TASK"] == "clustering"
    assert real["JINA_NANO_NAME"] == "jina-embeddings-v5-text-nano-clustering"
    assert made["JINA_NANO_NAME"] == "jina-embeddings-v5-text-nano-clustering-synthetic"
    assert bake.baked_name(variant, synthetic=False) == "jina-embeddings-v5:nano-clustering-cpu"


def test_a_boot_of_real_weights_has_the_real_name_and_of_synthetic_ones_another() -> None:
    real = profile.model_environment(NANO, Path("/models/x.gguf"), synthetic=False)
    made = profile.model_environment(NANO, Path("/models/x.gguf"), synthetic=True)
    assert "JINA_NANO_NAME" not in real
    assert real["JINA_TASK"] == "retrieval"
    assert made["JINA_NANO_NAME"].endswith("-synthetic")


def test_no_other_verb_decides_which_weights_are_real() -> None:
    """What is served goes through options; only measuring and publishing make their own."""
    deciding = {
        str(path.relative_to(options.__file__.rpartition("/tools/")[0]))
        for path in Path(options.__file__).parents[1].rglob("*.py")
        if "synthetic=False" in path.read_text()
    }
    assert deciding == {"tools/serving/options.py"}
