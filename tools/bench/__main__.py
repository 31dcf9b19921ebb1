"""Measure the shipped image over HTTP, and others beside it: `nox -s bench`.

On full-shape synthetic weights: speed does not depend on a weight's value. All servers of a
model are booted, and take turns round by round, those that wait stopped: what else happens on
the machine falls on all of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tools.bench import bulk, gpu, paired, report, traffic
from tools.bench.agreement import check
from tools.bench.machine import describe_machine
from tools.bench.measure import measure
from tools.bench.peers.image import describe_image
from tools.bench.peers.known import PEERS, PYTORCH_FP16_CUDA
from tools.bench.peers.make import ALL, make_peers
from tools.bench.peers.ours import OURS, our_image
from tools.bench.results import Results, load, save
from tools.bench.workloads import QUICK, full_plan
from tools.common.console import loud, say, table
from tools.common.errors import ToolError, run_verb
from tools.facts.images import Images, load_images, local_name
from tools.facts.models import Models, load_models
from tools.facts.paths import ROOT
from tools.weights.recipe import QUANTISATIONS

OUTPUT = ROOT / "reports" / "benchmark.json"
PAGE = ROOT / "docs" / "measured" / "benchmarks.md"

#: More than that taken by anything else, and the numbers are not worth keeping.
QUIET = 0.1


def show(results: Results) -> None:
    """Print the tables."""
    say(f"\n{report.machine_line(results.machine)}\n{OURS}: {report.image_line(results.image)}")
    for peer in results.peers:
        say(report.peer_line(peer))
    for model in dict.fromkeys(cell.model for cell in results.cells):
        say(f"\n{model}, {results.rounds} rounds")
        table(report.rate_rows(results, model), report.HEADER)
    if results.refusals:
        say("\nnot answered")
        table(report.refusal_rows(results), report.REFUSAL_HEADER)
    say("")
    table(report.server_rows(results), report.SERVER_HEADER)


def compare(then: Results, now: Results) -> None:
    """Print what changed since an earlier run. Raises ToolError where nothing is in both."""
    found = report.changes(then, now)
    if not found:
        raise ToolError("the two runs have no workload in common; nothing to compare")
    if then.machine != now.machine:
        loud(f"another machine: then {report.machine_line(then.machine)}")
    say(f"\nembeddings/s, then ({then.image.id[:19]}, {then.made}) and now")
    table(report.change_rows(found), report.COMPARE_HEADER)


def write_page(results: Results, command: str, page: Path) -> None:
    """Write ``page``, and its pictures into the folder of its name without ``.md``.

    Raises ToolError for a run on a busy machine.
    """
    if results.busy is None or results.busy > QUIET:
        share = "an unknown share" if results.busy is None else f"{results.busy:.0%}"
        raise ToolError(
            f"something else took {share} of the CPU time beside the measurement, so "
            f"{page} stays as it is; run it on a machine that does nothing else"
        )
    from tools.bench.plots import draw  # noqa: PLC0415 - needs matplotlib, and nothing else here does

    pictures = []
    folder = page.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for model in dict.fromkeys(cell.model for cell in results.cells):
        path = folder / f"{model}.svg"
        draw(results, model, path)
        pictures.append(str(path.relative_to(page.parent)))
    page.write_text(report.page(results, command, pictures), encoding="utf-8")
    say(f"wrote {page}")


def _parser(images: Images, models: Models) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help="nano and four workloads: two minutes")
    parser.add_argument("--models", nargs="+", choices=sorted(models.models))
    parser.add_argument("--quant", nargs="+", choices=QUANTISATIONS, default=QUANTISATIONS)
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=[*PEERS, PYTORCH_FP16_CUDA.name, ALL],
        default=[],
        metavar="NAME",
        help=f"measure these beside ours: {', '.join(PEERS)}; {ALL}: whichever can be made here",
    )
    parser.add_argument("--rounds", type=int, help="of each workload (5; 3 with --quick)")
    parser.add_argument("--image", default=local_name(images, images.images["cpu"]))
    parser.add_argument("--output", type=Path, default=OUTPUT, help="default: %(default)s")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="show changes since that run")
    parser.add_argument(
        "--page",
        nargs="?",
        type=Path,
        const=PAGE,
        metavar="FILE",
        help="write the tables and pictures to this page (docs/measured/benchmarks.md)",
    )
    parser.add_argument(
        "--images",
        nargs="+",
        metavar="NAME",
        help="only compare the throughput of these local images with that of the first, round by "
        f"round ({paired.ROUNDS} unless --rounds), for one model and quantisation",
    )
    parser.add_argument(
        "--traffic",
        nargs="+",
        metavar="NAME",
        help="only measure how long a search waits in bursts, at random moments and beside "
        "documents, on these local images, for one model and quantisation",
    )
    parser.add_argument(
        "--cache",
        type=int,
        metavar="MB",
        help="with --traffic: measure each image a second time, with a cache of this size",
    )
    parser.add_argument(
        "--bulk",
        metavar="URL",
        help="only compare `nox -s embed` with what the server at this address gives at most, "
        f"round by round ({bulk.ROUNDS} unless --rounds)",
    )
    parser.add_argument(
        "--gpu-report",
        action="store_true",
        help="measure the native cuda build on this machine's GPU instead, and print what "
        "docs/measured/benchmarks-gpu.md holds; "
        f"with --peers {PYTORCH_FP16_CUDA.name}, PyTorch beside it",
    )
    return parser


def _earlier(options: argparse.Namespace) -> Results | None:
    """Return the run to compare with, if any: it is read before hours of measuring, not after.

    Raises ToolError where it cannot be read, or the page could not be written.
    """
    if options.page and (options.page.suffix != ".md" or not options.page.parent.is_dir()):
        raise ToolError(
            f"--page {options.page}: name a file that ends in .md, in a folder that exists"
        )
    return load(options.compare) if options.compare else None


def _measure(images: Images, models: Models, options: argparse.Namespace) -> Results:
    """Boot ours and the peers, model by model, and return what they came to."""
    rounds = options.rounds or (3 if options.quick else 5)
    plan = QUICK if options.quick else full_plan()
    names = options.models or (["nano"] if options.quick else list(models.models))
    image = describe_image(options.image)
    machine = describe_machine(options.image)
    peers = make_peers(images, options.peers)
    contenders = [our_image(options.image, quantisation) for quantisation in options.quant]
    contenders += [contender for peer in peers for contender in peer.contenders]
    measured = [measure(models.models[name], contenders, plan, rounds, check) for name in names]
    shares = [each.busy for each in measured if each.busy is not None]
    return Results(
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        rounds=rounds,
        busy=max(shares) if len(shares) == len(measured) else None,
        machine=machine,
        image=image,
        peers=tuple(peer.facts for peer in peers),
        cells=tuple(cell for each in measured for cell in each.cells),
        refusals=tuple(refusal for each in measured for refusal in each.refusals),
        servers=tuple(server for each in measured for server in each.servers),
    )


def _beside_pytorch(peers: Sequence[str]) -> bool:
    """Tell whether PyTorch is wanted beside ours on a GPU; it is the only peer there."""
    others = sorted({*peers} - {PYTORCH_FP16_CUDA.name, ALL})
    if others:
        raise ToolError(
            f"{', '.join(others)}: no peer on a GPU, where only {PYTORCH_FP16_CUDA.name} is one"
        )
    return bool(peers)


def _compare_images(models: Models, options: argparse.Namespace) -> None:
    if len(options.images) < 2:
        raise ToolError("--images compares the first with the others; name at least two")
    rounds = options.rounds or paired.ROUNDS
    name, quantisation = (options.models or ["nano"])[0], options.quant[0]
    rows = paired.run(models.models[name], options.images, quantisation, rounds)
    say(f"\n{name} {quantisation}, full shape, {rounds} rounds")
    table(rows, paired.HEADER)


def main(arguments: Sequence[str]) -> None:
    """Measure tokens and embeddings per second, latency, start and memory of the image."""
    images, models = load_images(), load_models()
    options = _parser(images, models).parse_args(arguments)
    if options.gpu_report:
        names = options.models or list(models.models)
        gpu.report(names, options.rounds or 3, beside_pytorch=_beside_pytorch(options.peers))
        return
    if PYTORCH_FP16_CUDA.name in options.peers:
        raise ToolError(f"{PYTORCH_FP16_CUDA.name} is measured on a GPU only: add --gpu-report")
    if options.bulk:
        table(bulk.compare(options.bulk, options.rounds or bulk.ROUNDS), bulk.HEADER)
        return
    if options.images:
        _compare_images(models, options)
        return
    if options.traffic:
        name, quantisation = (options.models or ["nano"])[0], options.quant[0]
        rows = traffic.run(models.models[name], options.traffic, quantisation, options.cache)
        say(f"\n{name} {quantisation}, full shape, milliseconds")
        table(rows, traffic.HEADER)
        return
    earlier = _earlier(options)
    results = _measure(images, models, options)
    save(results, options.output)
    show(results)
    if results.busy is None or results.busy > QUIET:
        loud("the machine was not idle before the measurement; these numbers are not worth keeping")
    if earlier:
        compare(earlier, results)
    if options.page:
        write_page(results, " ".join(["nox -s bench --", *arguments]), options.page)
    say(f"\nresults: {options.output}")


if __name__ == "__main__":
    sys.exit(run_verb(main))
