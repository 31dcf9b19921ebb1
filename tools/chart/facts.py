"""Write the catalogue into the chart, which cannot read TOML: `python -m tools.chart.facts`."""

from __future__ import annotations

from typing import Any

import yaml

from tools.facts.models import Model, ModelFile, Models, load_models
from tools.facts.paths import CHART
from tools.images.recipe import comma_list

FILE = CHART / "files" / "models.yaml"
_HEADER = (
    "# The models, from models/models.toml: `python -m tools.chart.facts` writes this file, and\n"
    "# `nox -s pins` does so after it. Sizes of memory are in MiB.\n"
)


def chart_facts(models: Models) -> str:
    """Return the text of the chart's files/models.yaml."""
    facts = {
        "prefixes": {"query": models.query_prefix, "document": models.document_prefix},
        "models": {name: _model(model) for name, model in models.models.items()},
    }
    return _HEADER + yaml.safe_dump(facts, sort_keys=False)


def _model(model: Model) -> dict[str, Any]:
    return {
        "name": model.served_as,
        "repository": model.repository,
        "revision": model.revision,
        "dims": model.dims,
        "matryoshka": comma_list(model.matryoshka),
        "ctx_size": model.serve.ctx_size,
        "batch": model.serve.batch,
        "ubatch": model.serve.ubatch,
        "parallel": model.serve.parallel,
        "memory": model.serve.memory_bytes // 2**20,
        "gpu_memory": model.serve.gpu_memory_bytes // 2**20,
        "args": _arguments(model),
        "files": {name: _file(file) for name, file in model.files.items()},
    }


def _arguments(model: Model) -> list[str]:
    """Return what compose.yaml gives a causal model, and says why."""
    if not model.shape.causal:
        return []
    key = f"{model.shape.architecture}.context_length"
    return ["--override-kv", f"{key}=int:{model.context + 1}"]


def _file(file: ModelFile) -> dict[str, Any]:
    """Return a file's facts; where only the Hub knows its hash, the chart cannot check it."""
    if file.bytes is None:
        return {"name": file.name}
    return {"name": file.name, "mebibytes": -(-file.bytes // 2**20), "sha256": file.sha256}


if __name__ == "__main__":
    FILE.write_text(chart_facts(load_models()), encoding="utf-8")
