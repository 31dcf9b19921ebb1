"""Run `docker buildx build`: of one stage of our Dockerfile, or of another folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

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

    Each step is a line here, and all of it is in the log of that name. Raises ToolError as
    ``run_build`` does.
    """
    build_folder(
        log_name,
        CONTEXT,
        contexts,
        target=target,
        platform=platform,
        arguments=arguments,
        image_labels=image_labels,
        output=output,
        tag=tag,
    )


def build_folder(
    log_name: str,
    folder: Path,
    contexts: Mapping[str, str | Path],
    *,
    dockerfile: Path | None = None,
    target: str | None = None,
    platform: str | None = None,
    arguments: Mapping[str, str] | None = None,
    image_labels: Mapping[str, str] | None = None,
    output: str | None = None,
    tag: str | None = None,
) -> None:
    """Build ``folder`` with its Dockerfile, or another, as :func:`build_stage` does."""
    settings = [
        *(f"--build-context={name}={where}" for name, where in contexts.items()),
        *(f"--build-arg={name}={value}" for name, value in (arguments or {}).items()),
        *(f"--label={name}={value}" for name, value in (image_labels or {}).items()),
    ]
    settings += [f"--target={target}"] if target else []
    settings += [f"--platform={platform}"] if platform else []
    result = [f"--output={output}"] if output else ["--load", f"--tag={tag}"]
    command = [
        *("docker", "buildx", "build", "--progress=plain", "--provenance=false"),
        f"--file={dockerfile or folder / 'Dockerfile'}",
        *settings,
        *result,
        str(folder),
    ]
    run_build(command, LOGS / f"build-{log_name}.log")
