"""The publish path, against a real registry and with the real image.

Where a test is not about the suites, one quick test of the image stands in for them.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from tests.publish.conftest import COMMIT, Label, release_labels
from tests.support.containers import docker
from tests.support.emulation import ARM64, arm64_image
from tests.support.gate import Gate
from tests.support.publish_run import command
from tests.support.registry import PASSWORD, USER, LocalRegistry, local_registry
from tools.common.errors import ToolError
from tools.engine.compose import Compose
from tools.engine.docker import run_docker
from tools.facts.images import load_images
from tools.facts.models import load_models
from tools.facts.paths import ROOT
from tools.images.labels import (
    LABEL_PREFIX,
    MODEL_LABEL,
    OCI,
    REVISION_LABEL,
    VERSION_LABEL,
    is_fallback,
)
from tools.images.version import Revision, published_version
from tools.publish import __main__ as verb
from tools.publish import promote
from tools.publish.plan import Built, Release, find_built, plan_release
from tools.publish.promote import publish
from tools.publish.suites import SUITES, run_suites
from tools.registry.client import Registry, parse_repository, registry
from tools.serving.profile import clean_environment, model_environment
from tools.weights.hub import models_dir
from tools.weights.synthetic import ensure_synthetic

# One registry and one engine; side by side they would only wait for each other.
pytestmark = pytest.mark.xdist_group("publish")

IMAGES = load_images()
CPU = replace(IMAGES.images["cpu"], platforms=("linux/amd64",))
QUICK = "tests/image/test_image.py::test_clock_is_utc"
FAILING = "tests/support/failing_suite.py"

RELEASE = Revision(COMMIT, "v1.2.3")
FIXED = ["1.2.3-cpu", f"sha-{COMMIT}-cpu"]
MOVING = ["1.2-cpu", "cpu"]


def release_of(built: Built, revision: Revision = RELEASE) -> Release:
    return plan_release(CPU, (built,), IMAGES, revision)


def named(target: Registry) -> dict[str, str]:
    """Every tag of a release in the registry, with the digest that it means."""
    answer = target.http.get(f"{target.url}/tags/list")
    tags = (answer.json().get("tags") or []) if answer.status_code == 200 else []
    found = {tag: target.manifest(tag) for tag in tags if not tag.startswith("candidate-")}
    return {tag: blob.digest for tag, blob in found.items() if blob is not None}


def inspected(reference: str, field: str) -> dict[str, dict[str, Any]]:
    """What `docker buildx imagetools inspect` reads back of an index, by platform."""
    form = f"{{{{json .{field}}}}}"
    said = docker("buildx", "imagetools", "inspect", reference, "--format", form)
    return dict(json.loads(said))


def test_one_digest_is_of_one_image(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="--outputs-to takes the digest of one image"):
        verb.main(["--outputs-to", str(tmp_path / "outputs"), "--repository", "a.io/b"])


# ------------------------------------------------------------------ the whole path


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "suites",
    [
        pytest.param([QUICK], id="quick"),
        pytest.param(SUITES, id="real-suites", marks=pytest.mark.slow),
    ],
)
def test_a_development_version_by_the_command_line(
    *,
    suites: Sequence[str],
    image: str,
    labelled: Label,
    target: Registry,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """As `nox -s publish` does it, on this tree's image, wherever its inputs are from."""
    revision = Revision(COMMIT, "")
    fallback = is_fallback(IMAGES, find_built([image], "linux/amd64", "cpu").labels)
    version = published_version(revision, fallback=fallback)
    built = labelled({REVISION_LABEL: COMMIT, VERSION_LABEL: version})
    monkeypatch.setattr(verb, "load_images", lambda: replace(IMAGES, images={"cpu": CPU}))
    monkeypatch.setattr(verb, "read_revision", lambda: revision)
    monkeypatch.setattr(verb, "local_references", lambda *_: [built.reference])
    monkeypatch.setattr(verb, "publish", partial(publish, suites=suites))
    arguments = ["cpu", "--repository", str(target.repository)]
    if fallback:
        with pytest.raises(ToolError, match="first origins only"):
            verb.main(arguments)
        arguments.append("--allow-fallback-origins")
    verb.main([*arguments, "--dry-run"])
    assert named(target) == {}
    assert f"{version}-cpu" in capsys.readouterr().out
    outputs = tmp_path / "outputs"
    outputs.write_text("before=1\n")
    verb.main([*arguments, "--outputs-to", str(outputs)])
    digest = named(target)[f"{version}-cpu"]
    assert outputs.read_text() == f"before=1\nrepository={target.repository}\ndigest={digest}\n"
    assert set(named(target)) <= {f"{version}-cpu", f"sha-{COMMIT}-cpu"}


def test_a_release_is_described_and_published_once(
    released: Callable[[str], Built], target: Registry, front: Gate
) -> None:
    built = released("1.2.3")
    digest = publish(release_of(built), IMAGES, target, [QUICK])
    assert named(target) == dict.fromkeys([*FIXED, *MOVING], digest)
    # The names are the last that is stored, the short ones last of all.
    assert front.manifests_put[-5:] == [digest, *FIXED, *MOVING]

    index = target.manifest("cpu")
    assert index is not None
    assert index.json["annotations"][VERSION_LABEL] == "1.2.3"
    assert index.json["annotations"][f"{OCI}.revision"] == COMMIT
    assert index.json["annotations"] == {
        key: value for key, value in built.labels.items() if key.startswith((OCI, LABEL_PREFIX))
    }
    platforms = [each["platform"] for each in index.json["manifests"]]
    assert platforms == [
        {"os": "linux", "architecture": "amd64"},
        {"os": "unknown", "architecture": "unknown"},
    ]

    before = len(front.manifests_put)
    assert publish(release_of(built), IMAGES, target, [FAILING]) == digest
    assert [put for put in front.manifests_put[before:] if not put.startswith("candidate-")] == []


def test_what_is_stated_is_read_back_and_true(
    released: Callable[[str], Built], target: Registry, image: str
) -> None:
    publish(release_of(released("1.2.3")), IMAGES, target, [QUICK])
    reference = f"{target.repository}:1.2.3-cpu"

    bill = inspected(reference, "SBOM")["SPDX"]
    document = JsonLikeDictParser().parse(bill)
    assert validate_full_spdx_document(document) == []
    script = r"dpkg-query --show --showformat '${Package} ${Version}\n'"
    run = ["run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", image, "-c", script]
    packages = {(each.name, each.version): each for each in document.packages}
    assert {tuple(line.split()) for line in docker(*run).splitlines()} <= set(packages)
    source = IMAGES.llama_cpp[0]
    llama = packages["llama.cpp", source.commit]
    assert llama.download_location == f"git+{source.repository}@{source.commit}"
    assert "origin fork" in str(llama.source_info)
    patches = {
        relation.spdx_element_id
        for relation in document.relationships
        if relation.relationship_type.name == "PATCH_APPLIED"
    }
    applied = {file.name for file in document.files if file.spdx_id in patches}
    assert applied == {
        f"./images/patches/{path.name}" for path in (ROOT / "images/patches").glob("*.patch")
    }

    made = inspected(reference, "Provenance")["SLSA"]
    built = made["buildDefinition"]
    assert built["externalParameters"]["platform"] == "linux/amd64"
    commits = [each["digest"].get("gitCommit") for each in built["resolvedDependencies"]]
    assert commits[:2] == [COMMIT, source.commit]


def test_two_platforms_share_an_index_and_an_untested_one_keeps_the_short_names_away(
    released: Callable[[str], Built], target: Registry, image: str, tmp_path: Path
) -> None:
    """The second one stands for any that cannot run here.

    It holds the packages of the real image, and a program that starts nowhere.
    """
    first = released("1.2.3")
    root = tmp_path / "other" / "root"
    (root / "app").mkdir(parents=True)
    # The start of an ELF header: 64 bits, little-endian, e_type executable, e_machine RISC-V.
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + (2).to_bytes(2, "little")
    (root / "app" / "llama-server").write_bytes(header + (243).to_bytes(2, "little") + bytes(44))
    (root / "app" / "llama-server").chmod(0o755)
    container = docker("create", image)
    try:
        for path in ("/var/lib/dpkg/status", "/usr/lib/os-release"):
            (root / path[1:]).parent.mkdir(parents=True)
            docker("cp", f"{container}:{path}", str(root / path[1:]))
    finally:
        docker("rm", container)
    lines = ["FROM scratch", "COPY root /", 'ENTRYPOINT ["/app/llama-server"]']
    lines += [f'LABEL {key}="{value}"' for key, value in first.labels.items()]
    (root.parent / "Dockerfile").write_text("\n".join(lines) + "\n")
    name = f"{first.reference}-riscv64"
    options = ["--provenance=false", "--load", "--platform", "linux/riscv64", "--tag", name]
    docker("buildx", "build", *options, str(root.parent))
    try:
        both = (first, find_built([name], "linux/riscv64", "cpu"))
        with pytest.raises(ToolError, match=r"cannot run linux/riscv64.*--allow-untested"):
            publish(plan_release(CPU, both, IMAGES, RELEASE), IMAGES, target, [QUICK])
        assert named(target) == {}
        allowed = plan_release(CPU, both, IMAGES, RELEASE, ["linux/riscv64"])
        publish(allowed, IMAGES, target, [QUICK])
    finally:
        docker("image", "rm", "--no-prune", name)
    assert sorted(named(target)) == ["1.2.3-cpu"]
    reference = f"{target.repository}:1.2.3-cpu"
    assert sorted(inspected(reference, "SBOM")) == ["linux/amd64", "linux/riscv64"]
    assert sorted(inspected(reference, "Provenance")) == ["linux/amd64", "linux/riscv64"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_both_real_platforms_share_an_index(
    labelled: Label, target: Registry, pytestconfig: pytest.Config
) -> None:
    """Of the second one, too, what comes back is run: natively, or by QEMU."""
    with arm64_image(pytestconfig) as arm64:
        labels = release_labels("1.2.3")
        both = (labelled(labels), labelled(labels, arm64, ARM64))
        publish(plan_release(CPU, both, IMAGES, RELEASE), IMAGES, target, [QUICK])
    assert sorted(named(target)) == sorted([*FIXED, *MOVING])
    index = target.manifest("cpu")
    assert index is not None
    described = [each["platform"]["architecture"] for each in index.json["manifests"]]
    assert described == ["amd64", "arm64", "unknown", "unknown"]
    assert index.json["annotations"][VERSION_LABEL] == "1.2.3"
    reference = f"{target.repository}:cpu"
    assert sorted(inspected(reference, "SBOM")) == [each.platform for each in both]
    for built in both:
        docker("pull", "--quiet", "--platform", built.platform, reference)
        pulled = find_built([reference], built.platform, "cpu")
        docker("image", "rm", "--no-prune", reference)
        assert pulled.id == built.id


def test_a_deploying_user_pulls_and_serves(
    released: Callable[[str], Built], target: Registry, tmp_path: Path
) -> None:
    publish(release_of(released("1.2.3")), IMAGES, target, [QUICK])
    model = load_models().models["nano"]
    file = ensure_synthetic(models_dir(), model, "tiny", "Q8_0")
    compose = Compose(
        project=f"publish-{tmp_path.name.replace('_', '-')}",
        profile="nano",
        environment={
            **clean_environment(),
            **model_environment(model, file, synthetic=True),
            "JINA_IMAGE": f"{target.repository}:cpu",
            "JINA_PORT": "",
        },
    )
    try:
        for verb in (["pull"], ["up", "--wait", "--no-build"]):
            compose.ask(*verb, timeout=300)
        answer = httpx.post(
            f"http://{compose.address('nano', 8080)}/v1/embeddings",
            json={"input": ["why was my pod killed?"], "input_type": "query"},
            trust_env=False,
            timeout=60,
        )
    finally:
        compose.down()
        run_docker(["image", "rm", "--no-prune", f"{target.repository}:cpu"], timeout=60)
    assert answer.status_code == 200
    assert len(answer.json()["data"][0]["embedding"]) == model.dims


# ------------------------------------------------------------------ names that exist


def test_a_version_never_changes_and_short_names_only_move_forward(
    released: Callable[[str], Built], target: Registry
) -> None:
    digests: dict[str, str] = {}
    for version in ("1.2.3", "1.3.0", "1.2.4"):
        revision = Revision(f"{len(digests)}{COMMIT[1:]}", f"v{version}")
        release = release_of(released(version), revision)
        digests[version] = publish(release, IMAGES, target, [QUICK])
    found = named(target)
    assert {tag: found[f"{tag}-cpu"] for tag in digests} == digests
    assert found["cpu"] == found["1.3-cpu"] == digests["1.3.0"]
    assert found["1.2-cpu"] == digests["1.2.4"]

    other = released("1.2.3")
    other = replace(other, labels={**other.labels, f"{OCI}.created": "2001-01-01T00:00:00Z"})
    again = Revision("f" * 40, "v1.2.3")
    with pytest.raises(ToolError, match=r"1\.2\.3-cpu is there already with other content"):
        publish(release_of(other, again), IMAGES, target, [QUICK])
    assert named(target) == found


def test_a_release_follows_its_candidate_on_one_commit(
    released: Callable[[str], Built], target: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    candidate = Revision(COMMIT, "v1.2.3-rc.1")
    first = publish(release_of(released("1.2.3-rc.1"), candidate), IMAGES, target, [QUICK])
    release = release_of(released("1.2.3"))
    second = publish(release, IMAGES, target, [QUICK])
    of_commit = f"sha-{COMMIT}-cpu"
    assert named(target) == {
        "1.2.3-rc.1-cpu": first,
        of_commit: first,
        **dict.fromkeys(["1.2.3-cpu", *MOVING], second),
    }
    assert f"{of_commit} stays version 1.2.3-rc.1" in capsys.readouterr().err

    assert publish(release, IMAGES, target, [FAILING]) == second
    assert "cpu is published already" in capsys.readouterr().out


def test_a_newer_release_that_came_meanwhile_keeps_the_short_names(
    released: Callable[[str], Built], target: Registry, front: Gate
) -> None:
    newer = release_of(released("1.3.0"), Revision("b" * 40, "v1.3.0"))
    digests = []

    def overtake() -> None:
        front.open()
        digests.append(publish(newer, IMAGES, target, [QUICK]))

    front.at("1.2.3-cpu", overtake)
    older = publish(release_of(released("1.2.3")), IMAGES, target, [QUICK])
    found = named(target)
    assert found["1.2.3-cpu"] == found["1.2-cpu"] == older
    assert [found["cpu"], found["1.3-cpu"]] == 2 * digests


def test_a_short_name_of_somebody_else_is_not_taken(
    released: Callable[[str], Built], target: Registry
) -> None:
    built = released("1.2.3")
    foreign = f"{target.repository}:cpu"
    docker("image", "tag", built.id, foreign)
    docker("push", foreign)
    docker("image", "rm", "--no-prune", foreign)
    before = named(target)
    with pytest.raises(ToolError, match="was not published by this project"):
        publish(release_of(built), IMAGES, target, [QUICK])
    assert named(target) == before


def test_a_failed_suite_names_nothing(
    released: Callable[[str], Built], target: Registry, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ToolError, match="did not pass"):
        publish(release_of(released("1.2.3")), IMAGES, target, [FAILING])
    assert "this suite always fails" in capfd.readouterr().out
    assert named(target) == {}


def test_a_suite_that_lacks_its_engine_fails_instead_of_skipping(
    released: Callable[[str], Built], target: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_an_engine(image: str, suites: list[str], *, emulated: bool) -> None:
        with monkeypatch.context() as patch:
            patch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
            run_suites(image, suites, emulated=emulated)

    monkeypatch.setattr(promote, "run_suites", without_an_engine)
    with pytest.raises(ToolError, match="did not pass"):
        publish(release_of(released("1.2.3")), IMAGES, target, [QUICK])
    assert named(target) == {}


def test_a_baked_image_is_refused_with_its_licence(
    labelled: Label, target: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = labelled({MODEL_LABEL: "nano", REVISION_LABEL: COMMIT})
    monkeypatch.setattr(verb, "load_images", lambda: replace(IMAGES, images={"cpu": CPU}))
    monkeypatch.setattr(verb, "read_revision", lambda: RELEASE)
    monkeypatch.setattr(verb, "local_references", lambda *_: [built.reference])
    with pytest.raises(ToolError, match=r"model nano, which is under CC.BY.NC.4\.0"):
        verb.main(["--repository", str(target.repository), "--allow-fallback-origins"])
    assert named(target) == {}


# ------------------------------------------------------------------ interrupted


#: How a run ends: where it is held up, what it is sent there, and whether the request that is on
#: its way still arrives. Each run starts from what the one before has left.
ENDS = [
    ("the candidate", signal.SIGKILL, False),
    ("the candidate", signal.SIGINT, True),
    ("the suites", signal.SIGKILL, False),
    ("the suites", signal.SIGINT, False),
    ("a digest", signal.SIGKILL, False),
    ("a digest", signal.SIGKILL, True),
    (FIXED[0], signal.SIGINT, True),
    (FIXED[1], signal.SIGKILL, False),
    (MOVING[0], signal.SIGKILL, False),
    (MOVING[1], signal.SIGINT, False),
]


@pytest.mark.timeout(1800)
def test_killed_between_its_steps_no_short_name_means_what_was_not_tested(
    released: Callable[[str], Built], front: Gate, target: Registry
) -> None:
    earlier = Revision("a" * 40, "v1.2.2")
    old = publish(release_of(released("1.2.2"), earlier), IMAGES, target, [QUICK])
    before = named(target)
    built = released("1.2.3")
    run = command(str(target.repository), built.reference, RELEASE, QUICK)
    for place, end, then_pass in ENDS:
        prefix = {"the candidate": built.candidate_tag, "a digest": "sha256:"}.get(place, place)
        front.hold(prefix, then_pass=then_pass)
        said = ended(run, front, place, end)
        found = named(target)
        if place in ("the candidate", "the suites"):
            assert found == before, said
        new = {found[tag] for tag in FIXED if tag in found}
        assert {found[tag] for tag in MOVING} <= {old, *new}
        if not all(tag in found for tag in FIXED):
            assert {found[tag] for tag in MOVING} == {old}
    done = subprocess.run(run, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = named(target)
    assert len({found[tag] for tag in [*FIXED, *MOVING]}) == 1
    assert found["cpu"] != old


def ended(run: list[str], front: Gate, place: str, end: signal.Signals) -> str:
    """Start a run, end it when it is at ``place``, and return what it said."""
    process = subprocess.Popen(
        run, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    said = ""
    if place == "the suites":
        while not (line := process.stdout.readline()).startswith("testing"):
            said += line
            assert line, said
    else:
        while not front.reached.wait(0.1):
            assert process.poll() is None, process.communicate()[0]
    process.send_signal(end)
    if end is signal.SIGKILL:
        process.wait()
    front.open()
    said += process.communicate()[0]
    assert process.returncode == (130 if end is signal.SIGINT else -end), said
    return said


# ------------------------------------------------------------------ registries that say no


def test_without_a_login_it_says_so_and_with_one_it_works(
    released: Callable[[str], Built], program: Path, tmp_path: Path
) -> None:
    built = released("1.2.3")
    with local_registry(program, tmp_path / "closed", login=True) as closed:
        repository = parse_repository(f"{closed.host}/tests/jina-embeddings-v5")
        with (
            registry(repository) as target,
            pytest.raises(ToolError, match=f"docker login {closed.host}"),
        ):
            publish(release_of(built), IMAGES, target, [QUICK])
        wrong = ["login", "--username", USER, "--password", "wrong", closed.host]
        assert run_docker(wrong, timeout=60).returncode != 0
        docker("login", "--username", USER, "--password", PASSWORD, closed.host)
        with registry(repository) as target:
            assert named(target) == {}
            publish(release_of(built), IMAGES, target, [QUICK])
            assert sorted(named(target)) == sorted([*FIXED, *MOVING])


def test_a_password_that_is_no_longer_right_is_said(
    server: LocalRegistry, program: Path, tmp_path: Path
) -> None:
    with local_registry(program, tmp_path / "closed", login=True) as closed:
        docker("login", "--username", USER, "--password", PASSWORD, closed.host)
        changed = (closed.folder / "htpasswd").read_text().replace("tester", "another")
        (closed.folder / "htpasswd").write_text(changed)
        repository = parse_repository(f"{closed.host}/tests/jina-embeddings-v5")
        with registry(repository) as target, pytest.raises(ToolError, match="docker login"):
            target.manifest("cpu")


def test_a_read_only_registry_changes_nothing(
    released: Callable[[str], Built], server: LocalRegistry, target: Registry
) -> None:
    publish(release_of(released("1.2.2"), Revision("a" * 40, "v1.2.2")), IMAGES, target, [QUICK])
    before = named(target)
    release = release_of(released("1.2.3"))
    server.restart(read_only=True)
    try:
        with pytest.raises(ToolError, match="read-only"):
            publish(release, IMAGES, target, [QUICK])
    finally:
        server.restart()
    assert named(target) == before


@pytest.mark.parametrize("dies_at", ["candidate-", "sha256:", "1.2.3-cpu", "cpu"])
def test_a_registry_that_dies_is_said_and_has_no_half_of_it(
    dies_at: str,
    released: Callable[[str], Built],
    server: LocalRegistry,
    front: Gate,
    target: Registry,
) -> None:
    earlier = Revision("a" * 40, "v1.2.2")
    old = publish(release_of(released("1.2.2"), earlier), IMAGES, target, [QUICK])

    front.at(dies_at, server.stop)
    release = release_of(released("1.2.3"))
    try:
        with pytest.raises(ToolError, match=r"cannot push|cannot name|broke off|refused"):
            publish(release, IMAGES, target, [QUICK])
    finally:
        front.open()
        server.restart()
    found = named(target)
    assert found["cpu"] == old
    assert ("1.2.3-cpu" in found) == (dies_at == "cpu")
    assert publish(release, IMAGES, target, [QUICK]) == named(target)["cpu"]
