"""Build one stage of the Dockerfile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tools.engine.docker import docker_client
from tools.images.build_log import LOGS, run_build
from tools.images.recipe import CONTEXT


def build_stage(
    log_name: str,
    target: str,
    platform: str,
    contexts: Mapping[str, str | Path],
    *,
    arguments: Mapping[str, str] | None = None,
    image_labels: Mapping[str, str] | None = None,
    output: str | None = None,
    tag: str | None = None,
) -> None:
    """Build one stage of the Dockerfile into ``output``, or as the local image ``tag``.

    Each step is a line here, and all of it is in the log of that name.
    """
    settings = [
        *(f"--build-context={name}={where}" for name, where in contexts.items()),
        *(f"--build-arg={name}={value}" for name, value in (arguments or {}).items()),
        *(f"--label={name}={value}" for name, value in (image_labels or {}).items()),
    ]
    result = [f"--output={output}"] if output else ["--load", f"--tag={tag}"]
    command = [
        *docker_client().docker_cmd,
        *("buildx", "build", "--progress=plain", "--provenance=false"),
        *(f"--file={CONTEXT / 'Dockerfile'}", f"--target={target}", f"--platform={platform}"),
        *settings,
        *result,
        str(CONTEXT),
    ]
    run_build(command, LOGS / f"build-{log_name}.log")
