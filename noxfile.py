"""Every verb of the project; `nox -l` is the manual. Options go after `--`."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "unit"]
nox.options.default_venv_backend = "none"

PROJECT = Path(__file__).parent / "pyproject.toml"
ENVIRONMENT = Path(__file__).parent / ".nox" / "environment"
WORKFLOWS = Path(__file__).parent / ".github" / "workflows"
#: In the environment: what it was made of.
STAMP = "pyproject.sha256"


def stamp() -> str:
    """Return what an environment made now, by this Python, would be made of."""
    return hashlib.sha256(PROJECT.read_bytes() + sys.version.encode()).hexdigest()


def python(session: nox.Session) -> str:
    """Return the interpreter of the one environment that all verbs share.

    It is made when pyproject.toml changed; an environment for each verb would install the
    same packages ten times.
    """
    windows = sys.platform == "win32"
    interpreter = ENVIRONMENT / ("Scripts/python.exe" if windows else "bin/python")
    made_of = ENVIRONMENT / STAMP
    if not made_of.is_file() or made_of.read_text() != stamp():
        session.log("installing the project's packages into .nox/environment")
        # virtualenv comes with nox; Debian's own venv module lacks pip.
        session.run(sys.executable, "-m", "virtualenv", "-q", "--clear", str(ENVIRONMENT))
        pip = [str(interpreter), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        packages = nox.project.load_toml(PROJECT)
        session.run(
            *pip,
            *packages["project"]["dependencies"],
            *nox.project.dependency_groups(packages, "dev"),
        )
        made_of.write_text(stamp())
    return str(interpreter)


def install_group(session: nox.Session, group: str) -> None:
    """Add a dependency group that only one verb needs to the environment."""
    interpreter = python(session)
    packages = nox.project.dependency_groups(nox.project.load_toml(PROJECT), group)
    pip = ("-m", "pip", "--disable-pip-version-check", "install", "-q")
    session.run(interpreter, *pip, *packages)


def run_to_the_end(session: nox.Session, *arguments: str) -> None:
    """Run Python, leaving it time to tidy up its containers after Ctrl-C (nox's is 0.3 s)."""
    session.run(python(session), *arguments, interrupt_timeout=120, terminate_timeout=30)


def tool(session: nox.Session, module: str, *arguments: str) -> None:
    """Run ``python -m tools.MODULE`` with the verb's options."""
    run_to_the_end(session, "-m", f"tools.{module}", *arguments, *session.posargs)


def pytest(session: nox.Session, *arguments: str) -> None:
    """Run pytest with the verb's options, which may name other tests."""
    run_to_the_end(session, "-W", "error", "-m", "pytest", *arguments, *session.posargs)


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
def quality(session: nox.Session) -> None:
    """Measure what each Matryoshka size costs in ranking; `-- nano`, `--weights synthetic`."""
    tool(session, "serving.quality")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the image over HTTP: speed, latency, start, memory; `-- --quick`, `--images A B`."""
    install_group(session, "bench")
    tool(session, "bench")


@nox.session
def pins(session: nox.Session) -> None:
    """Pin every input to what is newest now, with its hash; `-- --check` only looks."""
    tool(session, "origins.pins")


@nox.session
def search(session: nox.Session) -> None:
    """Search by meaning in a database, booted or yours; `-- elasticsearch`, `-- postgresql`."""
    tool(session, "search")


@nox.session
def native(session: nox.Session) -> None:
    """Build llama-server on this machine itself; `-- build cuda`, `-- serve`, `-- archive`."""
    if not (shutil.which("cmake") and shutil.which("ninja")):
        packages = nox.project.dependency_groups(nox.project.load_toml(PROJECT), "native")
        session.run(python(session), "-m", "pip", "install", "-q", *packages)
    tool(session, "native")


@nox.session
def publish(session: nox.Session) -> None:
    """Push, test what comes back, then name it; `-- --repository HOST/NAME`, `-- --dry-run`."""
    tool(session, "publish")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types and workflows: ruff, strict mypy, GitHub's schemas, zizmor."""
    interpreter = python(session)
    session.run(interpreter, "-m", "ruff", "check", ".")
    session.run(interpreter, "-m", "ruff", "format", "--check", ".")
    session.run(interpreter, "-m", "mypy")
    schema = (interpreter, "-m", "check_jsonschema", "--builtin-schema")
    session.run(*schema, "vendor.github-workflows", *map(str, WORKFLOWS.glob("*.yml")))
    session.run(*schema, "vendor.dependabot", str(WORKFLOWS.parent / "dependabot.yml"))
    # Auditor is zizmor's strictest persona. Waivers are beside what they waive.
    zizmor = str(Path(interpreter).with_name("zizmor"))
    session.run(zizmor, "--offline", "--no-progress", "--persona=auditor", str(WORKFLOWS.parent))


@nox.session
def unit(session: nox.Session) -> None:
    """Run the tests that need nothing but Python."""
    pytest(session, "-n", "auto", "tests/unit")


@nox.session
def test(session: nox.Session) -> None:
    """Run the suite against the built image, or with `-- --runtime native` what `native` built."""
    parallel = ("-n", "auto", "--dist", "loadgroup")
    if any(option.startswith("--runtime") for option in session.posargs):
        pytest(session, *parallel)
        return
    session.run(python(session), "-m", "tools.engine")
    # PostgreSQL needs nothing more than Docker: its image is built from the same Debian base.
    pytest(session, *parallel, "--require", "docker,postgres")
