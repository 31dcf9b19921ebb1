"""What the images serve: ``models/models.toml``, read into frozen dataclasses.

A fault in the file is refused at load with the file and the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal, cast

from tools.common.errors import ToolError
from tools.facts.paths import MODELS_FILE
from tools.facts.table import COMMIT, SHA256, Table, read_table

#: The value of ``sha256`` and ``bytes`` for a file whose hash and size are taken from the Hub at
#: the pinned revision.
FROM_HUB = "from-hub"

#: What the models are for unless another task is asked for; the only one with sides.
RETRIEVAL = "retrieval"
#: What a model is merged for in the other files that its makers publish, as Jina's API calls it.
OTHER_TASKS = ("text-matching", "clustering", "classification")


@dataclass(frozen=True)
class ModelFile:
    """One quantisation of a model; ``bytes`` is None where only the Hub knows the size."""

    quantisation: str
    name: str
    sha256: str
    bytes: int | None


@dataclass(frozen=True)
class Shape:
    """The true shape of a model, from which synthetic weights are made."""

    architecture: Literal["eurobert", "qwen3"]
    causal: bool
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocabulary: int
    rope_base: float
    rms_eps: float


@dataclass(frozen=True)
class Serve:
    """What the compose profile sets; lengths are tokens.

    ``memory_bytes`` limits the host memory of a server on the CPU, ``gpu_memory_bytes`` of one on
    a GPU, whose own memory is not limited.
    """

    ctx_size: int
    batch: int
    ubatch: int
    parallel: int
    memory_bytes: int
    gpu_memory_bytes: int


@dataclass(frozen=True)
class Model:
    """One model: where its files are, and what its vectors look like."""

    name: str
    repository: str
    revision: str
    dims: int
    matryoshka: tuple[int, ...]
    context: int
    pooling: str
    nfc: bool  # the tokenizer puts texts into Unicode's normal form C
    files: Mapping[str, ModelFile]
    shape: Shape
    serve: Serve
    task: str = RETRIEVAL
    variants: Mapping[str, Model] = field(default_factory=dict)  # for other tasks, by their names

    @property
    def served_as(self) -> str:
        """The name that clients know the model by."""
        return f"jina-embeddings-v5-text-{self.name_and_task}"

    @property
    def name_and_task(self) -> str:
        """The name, with the task behind it for all but retrieval."""
        return self.name if self.task == RETRIEVAL else f"{self.name}-{self.task}"

    @property
    def is_pinned(self) -> bool:
        """Whether the catalogue has a revision of its repository."""
        return self.revision != FROM_HUB

    def for_task(self, task: str) -> Model:
        """Return the model's variant for a task; raises ToolError where there is none."""
        if task == self.task:
            return self
        if task not in self.variants:
            raise ToolError(
                f"no {self.name} for {task!r}; there are {self.task}, {', '.join(self.variants)}"
            )
        return self.variants[task]


@dataclass(frozen=True)
class Models:
    """``models/models.toml``."""

    licence: str
    licence_url: str
    default_quantisation: str
    query_prefix: str
    document_prefix: str
    models: Mapping[str, Model]

    @property
    def served(self) -> str:
        """All models as the server's JINA_MODELS names them: NAME=ARCHITECTURE, with blanks."""
        return " ".join(
            f"{model.served_as}={model.shape.architecture}" for model in self.models.values()
        )

    @property
    def shared_matryoshka(self) -> tuple[int, ...]:
        """The sizes that every model has, ascending."""
        sizes = [set(model.matryoshka) for model in self.models.values()]
        return tuple(sorted(set.intersection(*sizes)))


def _model_file(table: Table, quantisation: str) -> ModelFile:
    sha256 = table.text("sha256", re.compile(f"{SHA256.pattern}|{FROM_HUB}"))
    size = None
    if sha256 == FROM_HUB:
        table.text("bytes", re.compile(FROM_HUB))
    else:
        size = table.positive("bytes")
    file = ModelFile(quantisation, table.text("name"), sha256, size)
    table.end()
    return file


def _shape(table: Table) -> Shape:
    architecture = table.text("architecture")
    if architecture not in ("eurobert", "qwen3"):
        raise table.fault("architecture", f"must be eurobert or qwen3, found {architecture!r}")
    shape = Shape(
        architecture=cast(Literal["eurobert", "qwen3"], architecture),
        causal=table.flag("causal"),
        layers=table.positive("layers"),
        heads=table.positive("heads"),
        kv_heads=table.positive("kv_heads"),
        head_dim=table.positive("head_dim"),
        ffn=table.positive("ffn"),
        vocabulary=table.positive("vocabulary"),
        rope_base=table.real("rope_base"),
        rms_eps=table.real("rms_eps"),
    )
    if shape.heads % shape.kv_heads:
        raise table.fault("kv_heads", f"must divide heads ({shape.heads})")
    table.end()
    return shape


def _serve(table: Table, context: int) -> Serve:
    serve = Serve(*(table.positive(each.name) for each in fields(Serve)))
    if serve.ctx_size < context:
        raise table.fault("ctx_size", f"must be at least the model's context, {context}")
    table.end()
    return serve


def _model(table: Table, name: str, default_quantisation: str) -> Model:
    dims = table.positive("dims")
    matryoshka = table.sequence("matryoshka", int)
    if list(matryoshka) != sorted(set(matryoshka)):
        raise table.fault("matryoshka", "must be ascending, each size once")
    if matryoshka[-1] != dims:
        raise table.fault("dims", f"{dims} must be the last of matryoshka {list(matryoshka)}")
    context = table.positive("context")
    pooling = table.text("pooling")
    if pooling != "last":
        raise table.fault("pooling", f"only last-token pooling is known, found {pooling!r}")
    tasks = table.named_tables("tasks")
    for task in set(tasks) - set(OTHER_TASKS):
        known = ", ".join(OTHER_TASKS)
        raise table.fault("tasks", f"{task!r} is none; there are {known}")
    model = Model(
        name=name,
        repository=table.text("repository"),
        revision=table.text("revision", COMMIT),
        dims=dims,
        matryoshka=matryoshka,
        context=context,
        pooling=pooling,
        nfc=table.flag("nfc"),
        files=_files(table, default_quantisation),
        shape=_shape(table.table("shape")),
        serve=_serve(table.table("serve"), context),
    )
    table.end()
    variants = {
        task: _variant(each, model, task, default_quantisation) for task, each in tasks.items()
    }
    return replace(model, variants=variants)


def _files(table: Table, default_quantisation: str) -> dict[str, ModelFile]:
    files = {
        quantisation: _model_file(file, quantisation)
        for quantisation, file in table.named_tables("files").items()
    }
    if default_quantisation not in files:
        raise table.fault("files", f"lacks the default quantisation {default_quantisation}")
    return files


def _variant(table: Table, model: Model, task: str, default_quantisation: str) -> Model:
    """Return ``model`` merged for another task: other files, and all else the same."""
    variant = replace(
        model,
        task=task,
        repository=table.text("repository"),
        revision=table.text("revision", re.compile(f"{COMMIT.pattern}|{FROM_HUB}")),
        files=_files(table, default_quantisation),
    )
    table.end()
    return variant


def load_models(path: Path = MODELS_FILE) -> Models:
    """Read and check ``models/models.toml``.

    Raises ToolError naming the file and the key for anything missing, unknown or malformed.
    """
    top = read_table(path)
    default = top.text("default_quantisation")
    prefixes = top.table("prefixes")
    loaded = Models(
        licence=top.text("licence"),
        licence_url=top.text("licence_url"),
        default_quantisation=default,
        query_prefix=prefixes.text("query"),
        document_prefix=prefixes.text("document"),
        models={
            name: _model(table, name, default) for name, table in top.named_tables("models").items()
        },
    )
    prefixes.end()
    top.end()
    return loaded
