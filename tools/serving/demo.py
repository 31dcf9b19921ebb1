"""Show the whole path once, with nothing to download: `nox -s demo`.

Builds the image, makes small synthetic weights, boots the nano profile, embeds the example and
prints what came back. Synthetic weights rank by shared words only; meaning needs the real model.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tools.common.console import say, table
from tools.common.errors import run_verb
from tools.facts.corpus import Corpus, load_corpus
from tools.facts.images import load_images
from tools.facts.models import Models, load_models
from tools.serving.client import EmbeddingServer
from tools.serving.options import (
    SYNTHETIC,
    add_image_arguments,
    add_model_argument,
    add_weights_arguments,
    choose_image,
    choose_weights,
    compose_overrides,
)
from tools.serving.profile import booted


def show(models: Models, corpus: Corpus, base_url: str, *, lexical: bool) -> None:
    """Embed one search and all documents, and print the ranking.

    ``lexical`` takes the wording that shares its document's words, which is all that synthetic
    weights understand.
    """
    search = corpus.searches[0].lexical if lexical else corpus.searches[0].text
    texts = [f"{models.query_prefix}{search}"]
    texts += [f"{models.document_prefix}{document.text}" for document in corpus.documents]
    started = time.monotonic()
    vectors = EmbeddingServer(base_url).embed(texts)
    elapsed = time.monotonic() - started
    query, documents = vectors[0], vectors[1:]
    similarities = documents @ query
    say(f"\nquery: {search}")
    rows = [
        (rank, f"{similarities[i]:.4f}", corpus.documents[i].id, corpus.documents[i].text[:48])
        for rank, i in enumerate(np.argsort(-similarities)[:5], start=1)
    ]
    table(rows, ("rank", "cosine", "document", "text"))
    norms = np.linalg.norm(vectors, axis=1)
    say(
        f"\n{len(texts)} texts -> {vectors.shape[1]} dimensions, "
        f"norms {norms.min():.4f} to {norms.max():.4f}, {elapsed * 1000:.0f} ms"
    )


def runs_one_variant(machine: str, cpuinfo: str) -> bool:
    """Say whether a CPU runs the single variant of ``build --one-variant``.

    ``machine`` is what `uname -m` prints, ``cpuinfo`` the text of /proc/cpuinfo. On x86-64 the
    variant needs AVX2 and what came with it.
    """
    if machine != "x86_64":
        return True
    return {"avx2", "bmi2", "f16c", "fma"} <= set(cpuinfo.split())


def _one_variant_will_do() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    said = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    return runs_one_variant(platform.machine(), said)


def main(arguments: Sequence[str]) -> None:
    """Build, boot on synthetic weights, embed the example, tidy up."""
    images, models = load_images(), load_models()
    parser = argparse.ArgumentParser(prog="nox -s demo --", description=__doc__)
    add_model_argument(parser, models, "nano")
    add_weights_arguments(parser, models, SYNTHETIC)
    add_image_arguments(parser, gpu=True)
    options = parser.parse_args(arguments)
    model = models.models[options.model]
    # All variants take twice as long to compile, and this machine runs one of them.
    image = choose_image(images, options, one_variant=_one_variant_will_do())
    weights = choose_weights(models, model, options)
    say(f"booting {model.name} on {options.weights} weights")
    with booted(
        model,
        weights.file,
        image=image,
        synthetic=weights.synthetic,
        overrides=compose_overrides(options),
    ) as running:
        show(models, load_corpus(), running.base_url, lexical=weights.synthetic)
    if weights.synthetic:
        say(
            "\nThese were synthetic weights, which only count shared words. The real model:\n"
            "  nox -s up -- nano     downloads it (233 MB) and serves http://localhost:8080"
        )


if __name__ == "__main__":
    sys.exit(run_verb(main))
