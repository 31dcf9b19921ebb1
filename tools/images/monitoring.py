"""Write the images of monitoring into their compose file: `python -m tools.images.monitoring`.

Compose cannot read images.toml. `nox -s pins` runs this after it has looked up the digests.
"""

from __future__ import annotations

from tools.common.errors import ToolError
from tools.facts.images import FROM_REGISTRY, ImageOrigin, Images, load_images
from tools.facts.paths import MONITORING_COMPOSE_FILE


def pinned(image: ImageOrigin) -> str:
    """Return what compose runs: the image by its digest, by its tag alone where none is known."""
    return image.reference if image.digest == FROM_REGISTRY else image.pinned


def with_images(text: str, images: Images) -> str:
    """Return the compose file with the catalogue's images.

    Each is the default of a variable such as JINA_PROMETHEUS_IMAGE. Raises ToolError where the
    file has none of that name.
    """
    for image in images.monitoring:
        variable = f"JINA_{image.name.upper()}_IMAGE"
        start, found, rest = text.partition(f"${{{variable}:-")
        if not found:
            raise ToolError(f"{MONITORING_COMPOSE_FILE} has no image ${{{variable}:-...}}")
        text = start + found + pinned(image) + rest[rest.index("}") :]
    return text


if __name__ == "__main__":
    MONITORING_COMPOSE_FILE.write_text(
        with_images(MONITORING_COMPOSE_FILE.read_text(encoding="utf-8"), load_images()),
        encoding="utf-8",
    )
