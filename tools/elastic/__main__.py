"""Semantic search in Elasticsearch with this server's embeddings: `nox -s elastic`.

Boots Elasticsearch beside the embedding server, sends the console files of compose/elasticsearch
to it and checks that each of the five searches finds its document. With --es-url the same in any
cluster. Run again, it makes everything afresh.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from tools.build import build_image
from tools.catalog import ROOT, Model, Models, load_images, load_models
from tools.console import progress, say, table
from tools.corpus import Corpus, load_corpus
from tools.elastic.assets import WAYS, asset, render, write
from tools.elastic.boot import ELASTICSEARCH, KIBANA, boot, pull, remove
from tools.elastic.console_file import parse
from tools.elastic.runner import Finding, apply, connect, version
from tools.errors import ToolError, run_verb
from tools.fetch import fetch_model, models_dir
from tools.origins import choose
from tools.synthetic import ensure_synthetic


def run_ways(
    models: Models,
    model: Model,
    corpus: Corpus,
    *,
    ways: Sequence[str],
    es_url: str,
    api_key: str | None = None,
    server_url: str | None = None,
    server_key: str = "unused",
    lexical: bool = False,
) -> dict[str, list[Finding]]:
    """Send each way's console file to the cluster and return what its searches found."""
    found = {}
    with connect(es_url, api_key) as client:
        say(f"Elasticsearch {version(client)} at {es_url}")
        for way in ways:
            text = render(
                models,
                model,
                way,
                corpus,
                server_url=server_url,
                server_key=server_key,
                lexical=lexical,
            )
            requests = parse(text, asset(model, way).name)
            with progress(len(requests), way, unit=" requests") as advance:
                found[way] = apply(client, requests, advance)
    return found


def show(found: dict[str, list[Finding]]) -> None:
    """Print every search with what it found; raises ToolError when one found the wrong one."""
    rows = [
        (
            way,
            each.index,
            each.search[:44],
            each.found or "nothing",
            "-" if each.score is None else f"{each.score:.4f}",
            "yes" if each.right else "NO",
        )
        for way, findings in found.items()
        for each in findings
    ]
    say("")
    table(rows, ("way", "index", "search", "found first", "score", "right"))
    wrong = [each for findings in found.values() for each in findings if not each.right]
    if wrong:
        raise ToolError(
            f"{len(wrong)} of {len(rows)} searches did not find their document first, such as "
            f"{wrong[0].search!r} in {wrong[0].index}, which must find {wrong[0].wanted}"
        )


def _parser(models: Models) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nox -s elastic --",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", nargs="?", choices=sorted(models.models), default="nano")
    parser.add_argument(
        "--way", action="append", choices=WAYS, help="a console file; default: all four"
    )
    parser.add_argument(
        "--synthetic",
        action="store_true",
        help="synthetic weights, and searches that share the documents' words",
    )
    parser.add_argument("--kibana", action="store_true", help="boot Kibana, too")
    parser.add_argument("--es-url", help="a running cluster, instead of booting one")
    parser.add_argument("--api-key", help="its encoded API key")
    parser.add_argument("--server-url", help="where that cluster finds the embedding server")
    parser.add_argument("--down", action="store_true", help="remove what this verb booted")
    parser.add_argument("--write", action="store_true", help="write the console files anew")
    return parser


def main(arguments: Sequence[str]) -> None:
    """Boot or take a cluster, send the console files, print what was found."""
    images, models, corpus = load_images(), load_models(), load_corpus()
    parser = _parser(models)
    options = parser.parse_args(arguments)
    if not options.es_url and (options.api_key or options.server_url):
        parser.error("--api-key and --server-url are for a cluster of --es-url")
    if options.es_url and options.kibana:
        parser.error("--kibana boots one for the Elasticsearch that is booted here, not --es-url's")
    if options.write:
        for path in write(models, corpus):
            say(f"wrote {path.relative_to(ROOT)}")
        return
    if options.down:
        remove()
        say("stopped and removed")
        return

    model = models.models[options.model]
    es_url, kibana_url = options.es_url, None
    if es_url is None:
        pull([ELASTICSEARCH, KIBANA] if options.kibana else [ELASTICSEARCH])
        image = os.environ.get("JINA_IMAGE") or build_image(
            images, images.images["cpu"], choose([])
        )
        file = (
            ensure_synthetic(models_dir(), model, "tiny", "Q8_0")
            if options.synthetic
            else fetch_model(models, model.name, models.default_quantisation)
        )
        booted = boot(model, file, image, synthetic=options.synthetic, kibana=options.kibana)
        es_url, kibana_url = booted.es_url, booted.kibana_url
    found = run_ways(
        models,
        model,
        corpus,
        ways=options.way or WAYS,
        es_url=es_url,
        api_key=options.api_key,
        server_url=options.server_url,
        # What the server is started with, too; it may be several.
        server_key=os.environ.get("LLAMA_API_KEY", "").partition(",")[0] or "unused",
        lexical=options.synthetic,
    )
    show(found)
    if kibana_url:
        say(f"\nthe files of compose/elasticsearch go into {kibana_url}/app/dev_tools#/console")
    if not options.es_url:
        say("\nleft running; `nox -s elastic -- --down` removes it")


if __name__ == "__main__":
    sys.exit(run_verb(main))
