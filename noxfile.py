"""Every verb of the project; `nox -l` is the manual. Options go after `--`."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "unit"]
nox.options.default_venv_backend = "none"

PROJECT = Path(__file__).parent / "pyproject.toml"
ENVIRONMENT = Path(__file__).parent / ".nox" / "environment"
#: The clients that tests/recipes runs do not go together with what all verbs share.
CLIENTS = Path(__file__).parent / ".nox" / "recipes"
WORKFLOWS = Path(__file__).parent / ".github" / "workflows"
#: A file for each set of packages that is installed together, with the hash of every file that a
#: package index may give: `nox -s pins -- packages`.
LOCKS = Path(__file__).parent / "locks"
#: The lock of what all verbs share: the project's own packages and those of the group `dev`.
SHARED = "environment"
#: Groups with packages that name others which nothing uses, and which the lock leaves out.
NOT_WHOLE = ("chart",)
#: In the environment: what it was made of.
STAMP = "made-of.sha256"
#: Set, to install what pyproject.toml allows, where an index has other files or fewer versions.
UNLOCKED = "JINA_UNLOCKED"


def stamp(packages: str = SHARED) -> str:
    """Return what an environment made now, by this Python, would be made of."""
    made_of = [PROJECT.read_bytes(), sys.version.encode()]
    made_of.append(b"" if os.environ.get(UNLOCKED) else lock_of(packages).read_bytes())
    return hashlib.sha256(b"".join(made_of)).hexdigest()


def lock_of(packages: str) -> Path:
    """Return the lock file of a dependency group, or of what all verbs share."""
    return LOCKS / f"{packages}.txt"


def pip_install(session: nox.Session, interpreter: Path | str, packages: str) -> None:
    """Install a dependency group, or what all verbs share, in its locked versions."""
    pip = (str(interpreter), "-m", "pip", "--disable-pip-version-check", "install", "-q")
    if os.environ.get(UNLOCKED):
        facts = nox.project.load_toml(PROJECT)
        own = facts["project"]["dependencies"] if packages == SHARED else []
        group = "dev" if packages == SHARED else packages
        session.run(*pip, *own, *nox.project.dependency_groups(facts, group))
        return
    alone = ("--no-deps",) if packages in NOT_WHOLE else ()
    try:
        session.run(*pip, *alone, "--require-hashes", "--requirement", str(lock_of(packages)))
    except nox.command.CommandFailed:
        session.error(
            f"pip could not install what {lock_of(packages)} lists. Where your package index has "
            f"fewer versions or files of its own, {UNLOCKED}=1 installs what pyproject.toml allows."
        )


def python(session: nox.Session) -> str:
    """Return the interpreter of the one environment that all verbs share.

    An environment for each verb would install the same packages ten times.
    """
    return environment(session, ENVIRONMENT, SHARED)


def environment(session: nox.Session, folder: Path, packages: str) -> str:
    """Return the interpreter of an environment, made when pyproject.toml or its lock changed."""
    windows = sys.platform == "win32"
    interpreter = folder / ("Scripts/python.exe" if windows else "bin/python")
    made_of = folder / STAMP
    if not made_of.is_file() or made_of.read_text() != stamp(packages):
        session.log(f"installing the packages of locks/{packages}.txt into .nox/{folder.name}")
        # virtualenv comes with nox; Debian's own venv module lacks pip.
        session.run(sys.executable, "-m", "virtualenv", "-q", "--clear", str(folder))
        pip_install(session, interpreter, packages)
        made_of.write_text(stamp(packages))
    return str(interpreter)


def install_group(session: nox.Session, group: str) -> None:
    """Add a dependency group that only one verb needs to the environment."""
    pip_install(session, python(session), group)


def lock(session: nox.Session) -> None:
    """Lock the newest versions that pyproject.toml allows, for every Python and platform."""
    install_group(session, "lock")
    compile_ = (str(Path(python(session)).with_name("uv")), "pip", "compile", "--quiet")
    how = ("--universal", "--python-version", "3.11", "--generate-hashes", "--upgrade")
    said = ("--custom-compile-command", "nox -s pins -- packages")
    # Paths are relative, because uv writes them into the files.
    shared = f"{LOCKS.name}/{SHARED}.txt"
    session.run(*compile_, PROJECT.name, "--group", "dev", "-o", shared, *how, *said)
    # The others go with what all share, so that they can be installed on top of it.
    for group in ("nox", "native", "bench", "chart", "docs", "embed", "lock"):
        what = ("--group", group, "--constraint", shared, "-o", f"{LOCKS.name}/{group}.txt")
        session.run(*compile_, *what, *how, *said)
    session.run(*compile_, "--group", "recipes", "-o", f"{LOCKS.name}/recipes.txt", *how, *said)
    session.run(python(session), "-m", "tools.facts.clients")


def run_to_the_end(session: nox.Session, *arguments: str, **variables: str) -> None:
    """Run Python, leaving it time to tidy up its containers after Ctrl-C (nox's is 0.3 s)."""
    session.run(
        python(session), *arguments, env=variables, interrupt_timeout=120, terminate_timeout=30
    )


def tool(session: nox.Session, module: str, *arguments: str) -> None:
    """Run ``python -m tools.MODULE`` with the verb's options."""
    run_to_the_end(session, "-m", f"tools.{module}", *arguments, *session.posargs)


def pytest(session: nox.Session, *arguments: str) -> None:
    """Run pytest with the verb's options, which may name other tests."""
    # There is a worker for each core; NumPy's threads in each would get in each other's way.
    run_to_the_end(
        session,
        *("-W", "error", "-m", "pytest", *arguments, *session.posargs),
        OPENBLAS_NUM_THREADS="1",
    )


@nox.session
def demo(session: nox.Session) -> None:
    """See it work: build, boot nano on synthetic weights, embed the example, tidy up."""
    tool(session, "serving.demo")


@nox.session
def engine(session: nox.Session) -> None:
    """Make sure a Docker Engine answers, installing it if need be; `-- stop`, `-- --no-install`."""
    tool(session, "engine")


@nox.session
def build(session: nox.Session) -> None:
    """Build an image; `-- cuda --cuda-arch 90`, `-- --origin first-only` refuses fallbacks."""
    tool(session, "images.build")


@nox.session
def archive(session: nox.Session) -> None:
    """Carry a built image to another machine; `-- save cpu FILE`, there `-- load FILE`."""
    tool(session, "images.archive")


@nox.session
def models(session: nox.Session) -> None:
    """Download real models; `-- nano small --quant Q8_0`."""
    tool(session, "weights.hub")


@nox.session
def up(session: nox.Session) -> None:
    """Build, download the real model, serve it on http://localhost:8080; `-- nano`, `--gpu`."""
    tool(session, "serving.up", "up")


@nox.session
def down(session: nox.Session) -> None:
    """Stop the server that `up` left running, and what else of ours was left behind."""
    tool(session, "serving.up", "down")


@nox.session
def bake(session: nox.Session) -> None:
    """Make an image with the model inside, for machines without a network; `-- nano`."""
    tool(session, "serving.bake")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the image over HTTP: speed, latency, start, memory; `-- --quick`, `--images A B`."""
    install_group(session, "bench")
    tool(session, "bench")


@nox.session
def pins(session: nox.Session) -> None:
    """Pin every input to what is newest now, with its hash; `-- --check` only looks.

    `-- packages` does the same for the Python packages, in locks/.
    """
    if session.posargs == ["packages"]:
        lock(session)
    else:
        tool(session, "origins.pins")
        session.run(python(session), "-m", "tools.chart.facts")
        session.run(python(session), "-m", "tools.images.monitoring")


@nox.session
def search(session: nox.Session) -> None:
    """Search by meaning in a database: `-- elasticsearch`, `-- postgresql`; or by `-- sizes`."""
    tool(session, "search")


@nox.session
def embed(session: nox.Session) -> None:
    """Embed a corpus, resumable after a kill; `-- INPUT OUTPUT`, `--url A B` with two servers."""
    install_group(session, "embed")
    tool(session, "embed")


@nox.session
def native(session: nox.Session) -> None:
    """Build llama-server on this machine itself; `-- build cuda`, `-- serve`, `-- archive`."""
    if not (shutil.which("cmake") and shutil.which("ninja")):
        install_group(session, "native")
    tool(session, "native")


@nox.session
def publish(session: nox.Session) -> None:
    """Push, test what comes back, then name it; `-- --repository HOST/NAME`, `-- --dry-run`."""
    tool(session, "publish")


@nox.session
def chart(session: nox.Session) -> None:
    """Lint, render and validate the Helm chart for every Kubernetes, package it, run its tests."""
    install_group(session, "chart")
    tool(session, "chart")
    run_to_the_end(session, "-W", "error", "-m", "pytest", "-n", "auto", "tests/deploy")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types and workflows: ruff, strict mypy, GitHub's schemas, zizmor."""
    interpreter = python(session)
    session.run(interpreter, "-m", "ruff", "check", ".")
    session.run(interpreter, "-m", "ruff", "format", "--check", ".")
    session.run(interpreter, "-m", "mypy")
    schema = (interpreter, "-m", "check_jsonschema", "--builtin-schema")
    session.run(*schema, "vendor.github-workflows", *map(str, WORKFLOWS.glob("*.yml")))
    actions = WORKFLOWS.parent.glob("actions/*/action.yml")
    session.run(*schema, "vendor.github-actions", *map(str, actions))
    session.run(*schema, "vendor.dependabot", str(WORKFLOWS.parent / "dependabot.yml"))
    # Auditor is zizmor's strictest persona. Waivers are beside what they waive.
    zizmor = str(Path(interpreter).with_name("zizmor"))
    session.run(zizmor, "--offline", "--no-progress", "--persona=auditor", str(WORKFLOWS.parent))


@nox.session
def unit(session: nox.Session) -> None:
    """Run the tests that need nothing but Python."""
    install_group(session, "embed")
    pytest(session, "-n", "auto", "--require", "pyarrow", "tests/unit")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into docs/_build/html; a warning or a broken link is an error."""
    install_group(session, "docs")
    build = ("-m", "sphinx", "--fail-on-warning", "--keep-going", "--fresh-env")
    session.run(python(session), *build, *session.posargs, "docs", "docs/_build/html")


@nox.session
def test(session: nox.Session) -> None:
    """Run the suite against the built image, or with `-- --runtime native` what `native` built."""
    parallel = ("-n", "auto", "--dist", "loadgroup")
    if any(option.startswith("--runtime") for option in session.posargs):
        pytest(session, *parallel)
        return
    session.run(python(session), "-m", "tools.engine")
    # PostgreSQL and HAProxy need nothing more than Docker: images of both are built from its base.
    required = ("--require", "docker,postgres,front")
    if any(option.startswith("tests/recipes") for option in session.posargs):
        clients = environment(session, CLIENTS, "recipes")
        pytest(session, *parallel, *required, "--clients", clients)
    else:
        pytest(session, *parallel, *required)
