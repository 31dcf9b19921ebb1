"""Before anything is measured: all servers of a model give the same vectors as ours.

A benchmark of a server that computes something else is worth nothing.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.bench.measure import Subject
from tools.bench.peers.ours import OURS
from tools.bench.workloads import end_token, random_texts, random_tokens
from tools.common.console import say
from tools.common.errors import ToolError
from tools.facts.models import Model

#: Rounding to bf16 or Q8_0 leaves 0.9999 and more (all peers on nano's true shape). A wrong mask or
#: rotary base was seen to leave 0.998 and 0.997, another pooling, a missing feed-forward or a cut
#: input less than 0.84 (tiny synthetic weights).
ENOUGH = 0.999
#: The last is longer than llama.cpp's default micro-batch, at which some servers cut an input.
LENGTHS = (3, 64, 600)
_SEED = 7
_REQUEST_SECONDS = 300

Vectors = NDArray[np.float64]


def check(model: Model, subjects: Sequence[Subject]) -> None:
    """Raise ToolError naming the first server whose vectors are not those of ours."""
    ours = [each for each in subjects if each.contender.server == OURS]
    for subject in subjects:
        if subject.contender.server == OURS:
            continue
        # The same file where it was booted; the default one differs by less than the bar.
        quantisation = subject.contender.quantisation
        same = [each for each in ours if each.contender.quantisation == quantisation]
        reference = (same or ours)[0]
        inputs = probes(end_token(model) if subject.contender.takes_tokens else None)
        expected = embed(reference, inputs, sum(LENGTHS))
        cosines = similarity(embed(subject, inputs, sum(LENGTHS)), expected)
        if not cosines.min() >= ENOUGH:
            listed = ", ".join(f"{cosine:.4f}" for cosine in cosines)
            raise ToolError(
                f"{subject.contender.label} is no peer: its vectors of inputs of "
                f"{', '.join(map(str, LENGTHS))} tokens have cosines of {listed} with those of "
                f"{reference.contender.label}, which must be at least {ENOUGH}"
            )
        agreed = f"{subject.contender.label} agrees with {reference.contender.label}"
        say(f"{agreed}, cosines of {cosines.min():.5f} and more")


def probes(end: int | None) -> list[list[int]] | list[str]:
    """Return an input of each of LENGTHS: arrays that end with the token ``end``, or texts."""
    generator = np.random.default_rng(_SEED)
    if end is None:
        return [text for length in LENGTHS for text in random_texts(generator, 1, length)]
    return [row for length in LENGTHS for row in random_tokens(generator, 1, length, end)]


def similarity(one: Vectors, other: Vectors) -> Vectors:
    """Return the cosines of pairs of vectors; NaN where one is zero or they have other sizes."""
    if one.shape != other.shape:
        return np.array([np.nan])
    with np.errstate(invalid="ignore", divide="ignore"):
        lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        cosines: Vectors = (one * other).sum(axis=1) / lengths
    return cosines


def embed(subject: Subject, inputs: Sequence[list[int]] | Sequence[str], tokens: int) -> Vectors:
    """Return a server's vectors of inputs that are ``tokens`` long in all.

    Raises ToolError where it gives none, or read more or less than that.
    """
    label = subject.contender.label
    body = json.dumps({"input": list(inputs), "encoding_format": "base64"}).encode()
    request = urllib.request.Request(  # noqa: S310 - an address of our own
        f"{subject.booted.base_url}/v1/embeddings", body, {"Content-Type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_REQUEST_SECONDS) as answer:
            content: dict[str, Any] = json.load(answer)
        items = sorted(content["data"], key=lambda item: item["index"])
        vectors = np.array([decode(item["embedding"]) for item in items])
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(300).decode(errors="replace")
        raise ToolError(f"{label} answered {error.code}: {said}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ToolError(
            f"{label} does not answer with vectors: {error!r}; {subject.booted.last_words()}"
        ) from None
    read = content.get("usage", {}).get("prompt_tokens")
    if read != tokens:
        raise ToolError(f"{label} says that it read {read} tokens of {tokens}")
    return vectors


def decode(embedding: str | list[float]) -> Vectors:
    """Read a vector in either of the two forms of OpenAI's API."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding), dtype="<f4").astype(float)
    return np.array(embedding, dtype=float)
