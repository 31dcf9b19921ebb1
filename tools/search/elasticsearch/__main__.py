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
from pathlib import Path

from elasticsearch import Elasticsearch
from packaging.version import Version

from tools.common.console import progress, say, table
from tools.common.errors import ToolError, run_verb
from tools.engine.ensure import ensure_engine
from tools.facts.corpus import Corpus, load_corpus
from tools.facts.images import load_images
from tools.facts.models import Model, Models, load_models
from tools.facts.paths import ROOT
from tools.search.elasticsearch.assets import FIRST_RELEASES, WAYS, asset, render, works_with, write
from tools.search.elasticsearch.boot import ELASTICSEARCH, KIBANA, Booted, boot, pull, remove
from tools.search.elasticsearch.console_file import parse
from tools.search.elasticsearch.runner import Finding, address, apply, connect, version
from tools.serving.options import (
    SYNTHETIC,
    add_image_arguments,
    add_model_argument,
    add_weights_arguments,
    choose_image,
    choose_weights,
)


def default_ways(version: Version | None, *, foreign: bool) -> list[str]:
    """Return the ways for a cluster of a version, saying in one line what is left out, and why.

    In a ``foreign`` cluster, one that was not booted here, `custom` is only run when asked for:
    some releases of June 2026 end the node when its endpoint is called
    (github.com/elastic/elasticsearch/issues/151873). Raises ToolError when no way is left.
    """
    ways = [way for way in WAYS if works_with(way, version)]
    left_out = [
        f"{way} (needs {' or '.join(FIRST_RELEASES[way])})" for way in WAYS if way not in ways
    ]
    if foreign and "custom" in ways:
        ways.remove("custom")
        left_out.append("custom (it ends the node on some releases; `--way custom` runs it)")
    if left_out:
        say(f"left out: {', '.join(left_out)}")
    if not ways:
        raise ToolError(f"Elasticsearch {version} is too old for every way")
    return ways


def run_way(
    client: Elasticsearch,
    models: Models,
    model: Model,
    corpus: Corpus,
    way: str,
    *,
    server_url: str | None = None,
    server_key: str = "unused",
    lexical: bool = False,
) -> list[Finding]:
    """Send a way's console file to the cluster and return what its searches found.

    The keywords are those of ``render``; raises ToolError as ``apply`` does.
    """
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
        return apply(client, requests, advance)


def show(found: dict[str, list[Finding]]) -> None:
    """Print every search with what it found; nothing where nothing was searched."""
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
    if rows:
        say("")
        table(rows, ("way", "index", "search", "found first", "score", "right"))


def judge(found: dict[str, list[Finding]]) -> None:
    """Raise ToolError when a search found another document than its own."""
    findings = [each for of_way in found.values() for each in of_way]
    wrong = [each for each in findings if not each.right]
    if wrong:
        raise ToolError(
            f"{len(wrong)} of {len(findings)} searches did not find their document first, such as "
            f"{wrong[0].search!r} in {wrong[0].index}, which must find {wrong[0].wanted}"
        )


def _parser(models: Models) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nox -s elastic --",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model_argument(parser, models, "nano")
    parser.add_argument(
        "--way",
        action="append",
        choices=WAYS,
        help="a console file; may be repeated; default: all that the cluster's version has, "
        "without custom in a cluster of --es-url",
    )
    add_weights_arguments(parser, models)
    add_image_arguments(parser)
    parser.add_argument("--kibana", action="store_true", help="boot Kibana, too")
    parser.add_argument("--es-url", help="a running cluster, instead of booting one")
    parser.add_argument(
        "--api-key",
        help="its encoded API key; better in the variable ES_API_KEY, which is in no log",
    )
    parser.add_argument(
        "--ca-certs", type=Path, metavar="FILE", help="the certificate of its authority, in PEM"
    )
    parser.add_argument("--server-url", help="where that cluster finds the embedding server")
    parser.add_argument("--down", action="store_true", help="remove what this verb booted")
    parser.add_argument("--write", action="store_true", help="write the console files anew")
    return parser


def _options(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line, refusing what does not belong together."""
    options = parser.parse_args(arguments)
    if not options.es_url and (options.api_key or options.ca_certs or options.server_url):
        parser.error("--api-key, --ca-certs and --server-url are for a cluster of --es-url")
    if options.es_url and options.kibana:
        parser.error("--kibana boots one for the Elasticsearch that is booted here, not --es-url's")
    return options


def _boot(models: Models, model: Model, options: argparse.Namespace) -> Booted:
    """Boot Elasticsearch beside the embedding server, after fetching and building what it takes."""
    ensure_engine()
    pull([ELASTICSEARCH, KIBANA] if options.kibana else [ELASTICSEARCH])
    image = choose_image(load_images(), options)
    weights = choose_weights(models, model, options)
    return boot(model, weights.file, image, synthetic=weights.synthetic, kibana=options.kibana)


def _search(models: Models, corpus: Corpus, es_url: str, options: argparse.Namespace) -> None:
    """Run the ways in the cluster at ``es_url``, print what was found and judge it."""
    foreign = bool(options.es_url)
    # What is booted here wants no key, and a person's own is none of its business.
    api_key = options.api_key or os.environ.get("ES_API_KEY") if foreign else None
    found: dict[str, list[Finding]] = {}
    with connect(es_url, api_key, options.ca_certs) as client:
        release = version(client)
        say(f"Elasticsearch {release or 'serverless'} at {address(client)}")
        try:
            for way in options.way or default_ways(release, foreign=foreign):
                found[way] = run_way(
                    client,
                    models,
                    models.models[options.model],
                    corpus,
                    way,
                    server_url=options.server_url,
                    # What the server is started with, too; it may be several.
                    server_key=os.environ.get("LLAMA_API_KEY", "").partition(",")[0] or "unused",
                    lexical=options.weights == SYNTHETIC,
                )
        finally:
            # What was found before a way failed is worth as much as before.
            show(found)
    judge(found)


def main(arguments: Sequence[str]) -> None:
    """Boot or take a cluster, send the console files, print what was found."""
    models, corpus = load_models(), load_corpus()
    options = _options(_parser(models), arguments)
    if options.write:
        for path in write(models, corpus):
            say(f"wrote {path.relative_to(ROOT)}")
        return
    if options.down:
        remove()
        say("stopped and removed")
        return
    if options.es_url:
        _search(models, corpus, options.es_url, options)
        return
    booted = _boot(models, models.models[options.model], options)
    _search(models, corpus, booted.es_url, options)
    if booted.kibana_url:
        console = f"{booted.kibana_url}/app/dev_tools#/console"
        say(f"\nthe files of compose/elasticsearch go into {console}")
    say("\nleft running; `nox -s elastic -- --down` removes it")


if __name__ == "__main__":
    sys.exit(run_verb(main))
