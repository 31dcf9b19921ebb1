"""An image with a model inside, for machines without a network: `nox -s bake -- nano`.

What the image sets is what the model's compose profile sets: it is read from there. The models
are licensed for non-commercial use, so such an image is for its maker; publishing refuses it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.common.console import say
from tools.common.errors import run_verb
from tools.common.files import temporary_folder
from tools.engine.docker import image_field
from tools.facts.images import load_images, local_name
from tools.facts.models import Model, Models, load_models
from tools.facts.paths import COMPOSE_FILE
from tools.images.labels import MODEL_LABEL, OCI
from tools.images.stage import build_folder
from tools.serving.compose_file import Service, read_service
from tools.serving.options import (
    add_image_arguments,
    add_model_argument,
    add_weights_arguments,
    choose_image,
    choose_weights,
)
from tools.serving.profile import model_environment
from tools.weights.hub import add_task_argument

SERVER = ["/app/llama-server"]


def model_service(model: Model, file: Path, *, synthetic: bool) -> Service:
    """Return what compose sets for ``model`` serving ``file``.

    Nothing of a person's own settings is included, least of all their keys.
    """
    variables = model_environment(model, file, synthetic=synthetic)
    return read_service(model.name, [COMPOSE_FILE], variables)


def recipe(service: Service, file: Path) -> str:
    """Return the Dockerfile. JSON's quoting is also that of ENV, except for the dollar sign.

    The arguments go into the entrypoint: any that a person adds come after them.
    """
    settings = [
        f"ENV {key}={json.dumps(value).replace('$', chr(92) + '$')}"
        for key, value in service.environment.items()
    ]
    return "\n".join(
        [
            "FROM server",
            f"COPY --chmod=0444 {file.name} {service.environment['LLAMA_ARG_MODEL']}",
            *settings,
            f"ENTRYPOINT {json.dumps([*SERVER, *service.command])}",
            "",
        ]
    )


def model_labels(models: Models, model: Model, file: Path, *, synthetic: bool) -> dict[str, str]:
    """Return the labels that differ from those of the image without a model.

    Synthetic weights are made here, so that no licence but ours holds for them.
    """
    labels = {
        f"{OCI}.title": f"jina-embeddings-v5 ({model.name})",
        f"{OCI}.description": f"llama-server with {file.name} inside; not to be published",
        MODEL_LABEL: model.name,
        f"{MODEL_LABEL}.file": file.name,
    }
    if synthetic:
        return {**labels, f"{MODEL_LABEL}.revision": "synthetic"}
    licences = f"{load_images().licence} AND MIT AND {models.licence}"
    return {
        **labels,
        f"{OCI}.licenses": licences,
        f"{MODEL_LABEL}.repository": model.repository,
        f"{MODEL_LABEL}.revision": model.revision,
        f"{MODEL_LABEL}.licence": models.licence,
    }


def baked_name(model: Model, *, synthetic: bool) -> str:
    """Return the local name of an image with a model, such as ``jina-embeddings-v5:nano-cpu``."""
    images = load_images()
    repository, _, flavour = local_name(images, images.images["cpu"]).rpartition(":")
    return f"{repository}:{model.name_and_task}-{flavour}{'-synthetic' if synthetic else ''}"


def bake(
    models: Models, model: Model, file: Path, server: str, name: str, *, synthetic: bool
) -> None:
    """Make the image ``name``: the image ``server`` with ``file`` inside.

    Raises ToolError when it cannot be built.
    """
    service = model_service(model, file, synthetic=synthetic)
    say(f"putting {file.name} into {name}")
    with temporary_folder() as folder:
        dockerfile = folder / "Dockerfile"
        dockerfile.write_text(recipe(service, file), encoding="utf-8")
        build_folder(
            f"bake-{name.partition(':')[2]}",
            file.parent,
            {"server": f"docker-image://{server}"},
            dockerfile=dockerfile,
            image_labels=model_labels(models, model, file, synthetic=synthetic),
            tag=name,
        )


def main(arguments: Sequence[str]) -> None:
    """Build the image, bring the model, and put the one into the other."""
    images, models = load_images(), load_models()
    parser = argparse.ArgumentParser(prog="nox -s bake --", description=__doc__)
    add_model_argument(parser, models)
    add_task_argument(parser)
    add_weights_arguments(parser, models)
    add_image_arguments(parser)
    parser.add_argument("--tag", help="the local name to give instead of the usual one")
    options = parser.parse_args(arguments)
    model = models.models[options.model].for_task(options.task)
    server = choose_image(images, options)
    weights = choose_weights(models, model, options)
    file, synthetic = weights.file, weights.synthetic
    name = options.tag or baked_name(model, synthetic=synthetic)
    bake(models, model, file, server, name, synthetic=synthetic)
    size = int(image_field(name, ".Size"))
    say(f"{name} is there ({size / 1e6:.0f} MB): docker run --rm -p 127.0.0.1:8080:8080 {name}")
    if not synthetic:
        say(
            f"it holds {model.repository} at {model.revision[:12]}, licensed under "
            f"{models.licence} ({models.licence_url}): not for commercial use, and not published"
        )


if __name__ == "__main__":
    sys.exit(run_verb(main))
