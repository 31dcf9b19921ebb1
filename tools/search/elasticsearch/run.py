"""Elasticsearch: the console files of compose/elasticsearch are sent to it.

With --es-url that is done in any cluster. Run again, it makes everything afresh.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from elasticsearch import Elasticsearch
from packaging.version import Version

from tools.common.console import progress, say
from tools.common.errors import ToolError
from tools.engine.ensure import ensure_engine
from tools.facts.corpus import Corpus
from tools.facts.images import load_images
from tools.facts.models import Model, Models
from tools.facts.paths import ROOT
from tools.search.elasticsearch.assets import FIRST_RELEASES, WAYS, asset, render, works_with, write
from tools.search.elasticsearch.boot import ELASTICSEARCH, KIBANA, booted_stack, pull
from tools.search.elasticsearch.console_file import parse
from tools.search.elasticsearch.runner import address, apply, connect, version
from tools.search.found import Finding
from tools.serving.client import own_key
from tools.serving.options import SYNTHETIC, choose_image, choose_weights

MEASURE = "score"


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this database alone."""
    parser.add_argument(
        "--way",
        action="append",
        choices=WAYS,
        help="a console file; may be repeated; default: all that the cluster's version has, "
        "without custom in a cluster of --es-url",
    )
    parser.add_argument("--kibana", action="store_true", help="boot Kibana, too; goes with --keep")
    parser.add_argument("--es-url", help="a running cluster, instead of booting one")
    parser.add_argument(
        "--api-key",
        help="its encoded API key; better in the variable ES_API_KEY, which is in no log",
    )
    parser.add_argument(
        "--ca-certs", type=Path, metavar="FILE", help="the certificate of its authority, in PEM"
    )
    parser.add_argument("--server-url", help="where that cluster finds the embedding server")
    parser.add_argument("--write", action="store_true", help="write the console files anew")


def refuse(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with the usage for options that do not belong together."""
    if not options.es_url and (options.api_key or options.ca_certs or options.server_url):
        parser.error("--api-key, --ca-certs and --server-url are for a cluster of --es-url")
    if options.es_url and (options.kibana or options.keep):
        parser.error("--kibana and --keep are for the Elasticsearch that is booted here")
    if options.kibana and not options.keep:
        parser.error("--kibana is for a look at it afterwards, and goes with --keep")


def run(models: Models, corpus: Corpus, options: argparse.Namespace, found: list[Finding]) -> None:
    """Boot or take a cluster, send the console files, and add to ``found`` what was found."""
    if options.write:
        for path in write(models, corpus):
            say(f"wrote {path.relative_to(ROOT)}")
        return
    if options.es_url:
        _search(models, corpus, options.es_url, options, found)
        return
    ensure_engine()  # else a stopped engine would pass for a registry out of reach
    pull([ELASTICSEARCH, KIBANA] if options.kibana else [ELASTICSEARCH])
    model = models.models[options.model]
    image = choose_image(load_images(), options)
    weights = choose_weights(models, model, options)
    with booted_stack(model, weights, image, kibana=options.kibana, keep=options.keep) as stack:
        _search(models, corpus, stack.es_url, options, found)
        if stack.kibana_url:
            console = f"{stack.kibana_url}/app/dev_tools#/console"
            say(f"the files of compose/elasticsearch go into {console}")
        if options.keep:
            say(f"left running at {stack.es_url}; `nox -s down` removes it")


def _search(
    models: Models,
    corpus: Corpus,
    es_url: str,
    options: argparse.Namespace,
    found: list[Finding],
) -> None:
    """Run the ways in the cluster at ``es_url``."""
    foreign = bool(options.es_url)
    # What is booted here wants no key, and a person's own is none of its business.
    api_key = options.api_key or os.environ.get("ES_API_KEY") if foreign else None
    with connect(es_url, api_key, options.ca_certs) as client:
        release = version(client)
        say(f"Elasticsearch {release or 'serverless'} at {address(client)}")
        for way in options.way or default_ways(release, foreign=foreign):
            found += run_way(
                client,
                models,
                models.models[options.model],
                corpus,
                way,
                server_url=options.server_url,
                server_key=own_key() or "unused",
                lexical=options.weights == SYNTHETIC,
            )
