"""The console files of compose/elasticsearch, written from templates, the catalogue and the corpus.

They are committed, because they are there to be pasted; a unit test holds them to what is
rendered here. One file for each model and each way; docs/search/elasticsearch.md says when to
choose which.
"""

from __future__ import annotations

import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from packaging.version import Version

from tools.facts.corpus import Corpus
from tools.facts.models import Model, Models
from tools.facts.paths import ROOT

ASSETS = ROOT / "compose" / "elasticsearch"

#: The first releases of Elasticsearch 8 and 9 that have what a way needs.
FIRST_RELEASES = {
    "classic": ("8.15", "9.0"),
    "semantic-text": ("8.19", "9.1"),
    "dense-vector": ("8.15", "9.0"),
    "custom": ("8.19", "9.1"),
}

#: The ways, in the order in which the documentation tells them.
WAYS = tuple(FIRST_RELEASES)

#: Where a service of compose answers on its network.
_PORT = 8080


def asset(model: Model, way: str) -> Path:
    """Return the committed console file of a model and a way."""
    return ASSETS / f"{way}-{model.name}.console"


def works_with(way: str, version: Version | None) -> bool:
    """Say whether a release of Elasticsearch has what a way needs; None is a serverless one."""
    if version is None:
        return True
    eight, nine = map(Version, FIRST_RELEASES[way])
    return version >= (nine if version.major >= nine.major else eight)


def compose_url(model: Model) -> str:
    """Return the server's address as Elasticsearch sees it on compose's network."""
    return f"http://{model.name}:{_PORT}"


def render(
    models: Models,
    model: Model,
    way: str,
    corpus: Corpus,
    *,
    server_url: str | None = None,
    server_key: str = "unused",
    lexical: bool = False,
) -> str:
    """Return the console file of a model and a way.

    ``server_url`` is where Elasticsearch finds the embedding server, by default the service of
    compose; ``server_key`` is a key that it takes. ``lexical`` takes the wordings that share a
    document's words, which is all that synthetic weights understand.
    """
    environment = Environment(
        loader=FileSystemLoader(ROOT / "compose" / "elasticsearch" / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - console files are not HTML
    )
    environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False)
    text = environment.get_template(f"{way}.j2").render(
        model=model,
        needs=" and ".join(FIRST_RELEASES[way]),
        server_url=(server_url or compose_url(model)).rstrip("/"),
        server_key=server_key,
        query_prefix=models.query_prefix,
        document_prefix=models.document_prefix,
        documents=corpus.documents,
        searches=[
            {"text": each.lexical if lexical else each.text, "finds": each.finds}
            for each in corpus.searches
        ],
    )
    return text.rstrip("\n") + "\n"


def write(models: Models, corpus: Corpus) -> list[Path]:
    """Write every console file and return those that changed."""
    changed = []
    for model in models.models.values():
        for way in WAYS:
            path, text = asset(model, way), render(models, model, way, corpus)
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                partial = path.with_suffix(".part")
                partial.write_text(text, encoding="utf-8")
                partial.replace(path)
                changed.append(path)
    return changed
