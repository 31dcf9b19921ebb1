"""Which peers there are: what each is made of and how it is started, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from tools.facts.images import BootstrapOrigin
from tools.weights.recipe import Quantisation


@dataclass(frozen=True)
class ImagePeer:
    """llama-server in an image, built without our patches and started without compose.

    ``base`` and ``cmake`` replace those of our image; None: they are ours. ``settings`` are
    variables by model, on top of what images/Dockerfile sets for all (address, file, embeddings,
    last-token pooling).
    """

    name: str
    what: str
    quantisations: tuple[Quantisation, ...]
    platforms: tuple[str, ...]
    base: BootstrapOrigin | None
    cmake: tuple[tuple[str, str], ...] | None
    settings: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Environment:
    """A virtual environment in the cache folder, and the packages in it."""

    name: str
    packages: tuple[str, ...]
    #: What is compiled while they are installed, and what for is said; empty: nothing.
    compiles: str = ""


@dataclass(frozen=True)
class PythonPeer:
    """A server that runs in an environment of its own, as a process of this machine.

    In ``arguments``, ``{file}`` and ``{port}`` stand for the model file and the port; where it is
    ``exported``, {file} is the ONNX file made of it. ``health`` is the path of the answer by which
    it is known to be ready.
    """

    name: str
    what: str
    quantisations: tuple[Quantisation, ...]
    environment: Environment
    arguments: tuple[str, ...]
    exported: bool = False
    takes_tokens: bool = True
    health: str = "/health"


Peer = ImagePeer | PythonPeer

# ------------------------------------------------------------------ llama-server

#: Debian 12 as its first release was dated (https://www.debian.org/News/2023/20230610). From the
#: package archive alone: what the first setup cloned from a registry was not pinned.
BOOKWORM = BootstrapOrigin(
    name="debian-archive",
    auto=True,
    suite="bookworm",
    released=date(2023, 6, 10),
    include=("ca-certificates",),
)

#: One set of kernels, for AVX2, and no backends as files of their own. The first setup's
#: Dockerfile is not at hand: that its flags were fixed to AVX2 is known (issue 7), and
#: these are what llama.cpp makes of that (those that INS_ENB turns on in ggml/CMakeLists.txt).
_FIXED_AVX2 = (
    ("GGML_NATIVE", "OFF"),
    ("GGML_AVX", "ON"),
    ("GGML_AVX2", "ON"),
    ("GGML_FMA", "ON"),
    ("GGML_F16C", "ON"),
    ("GGML_BMI2", "ON"),
)
#: What is left out of every build of ours for needing a network or not being the server, and
#: llama.cpp's own default that images/Dockerfile counts on.
_SERVER_ONLY = (
    ("BUILD_SHARED_LIBS", "ON"),
    ("LLAMA_BUILD_APP", "OFF"),
    ("LLAMA_BUILD_EXAMPLES", "OFF"),
    ("LLAMA_BUILD_TESTS", "OFF"),
    ("LLAMA_BUILD_UI", "OFF"),
    ("LLAMA_BUILD_WEBUI", "OFF"),
    ("LLAMA_OPENSSL", "OFF"),
    ("LLAMA_USE_PREBUILT_UI", "OFF"),
)

#: What images/Dockerfile sets beyond what is needed to serve, set back to llama.cpp's and OpenMP's
#: defaults (for the slots "auto": four that share the context).
_DEFAULTS = {
    "GOMP_SPINCOUNT": "300000",
    "LLAMA_ARG_CACHE_IDLE_SLOTS": "1",
    "LLAMA_ARG_CACHE_RAM": "8192",
    "LLAMA_ARG_ENDPOINT_METRICS": "0",
    "LLAMA_ARG_KV_UNIFIED": "0",
    "LLAMA_ARG_N_PARALLEL": "-1",
}

#: Its compose file for both models. There it named the batches LLAMA_ARG_BATCH_SIZE and
#: LLAMA_ARG_UBATCH_SIZE, which llama-server does not know: every input of more than 512 tokens
#: failed. With the right names it runs. Its memory limit of 2 GB is left out: it would be killed.
_FIRST_SETUP = {
    **_DEFAULTS,
    "LLAMA_ARG_CTX_SIZE": "8192",
    "LLAMA_ARG_BATCH": "8192",
    "LLAMA_ARG_N_PARALLEL": "4",
}

#: Of the same llama.cpp as our image, so that the recipe alone differs: the branch that it cloned
#: was older and not pinned.
FIRST_SETUP = ImagePeer(
    name="first-setup",
    what="the first setup's recipe: Debian 12's GCC 12, fixed AVX2 flags, its compose settings "
    "with the batches' names corrected, of our pinned llama.cpp without patches",
    # It downloaded no other file.
    quantisations=("F16",),
    platforms=("linux/amd64",),
    base=BOOKWORM,
    cmake=_FIXED_AVX2 + _SERVER_ONLY,
    settings={
        "nano": {**_FIRST_SETUP, "LLAMA_ARG_UBATCH": "8192"},
        "small": {**_FIRST_SETUP, "LLAMA_ARG_UBATCH": "32768"},
    },
)

#: Its .devops/cpu.Dockerfile: no native kernels, all variants as files of their own, GCC 14.
#: That is how our image is built too, from the same GCC, so only the patches are left out.
UPSTREAM = ImagePeer(
    name="upstream",
    what="llama.cpp's own recipe (.devops/cpu.Dockerfile), of our pinned llama.cpp without "
    "patches, at llama-server's default settings",
    quantisations=("F16", "Q8_0"),
    platforms=("linux/amd64", "linux/arm64"),
    base=None,
    cmake=None,
    settings={
        # A bidirectional model needs its whole input in one micro-batch; the default of 512
        # refuses the inputs of 2048 tokens.
        "nano": {**_DEFAULTS, "LLAMA_ARG_UBATCH": "2048"},
        "small": _DEFAULTS,
    },
)

# ------------------------------------------------------------------ Python

#: Reads the weights out of the GGUF file; as in pyproject.toml.
_GGUF = "gguf>=0.17,<0.20"
_NUMPY = "numpy>=1.26,<3"

_TORCH = Environment(
    "torch",
    (
        # The version whose rate is known (design, section 5); another is another peer.
        "torch==2.13.0",
        _GGUF,
        _NUMPY,
        # torch.onnx writes through these two; a minor version may change what is written.
        "onnx>=1.20,<1.24",
        "onnxscript>=0.7,<0.8",
    ),
)
#: A minor version brings other kernels, and needs a run of the test before it is believed.
_ONNXRUNTIME = Environment("onnxruntime", ("onnxruntime>=1.27,<1.33", _NUMPY))
#: The same; versions are a year and the release in it.
_OPENVINO = Environment("openvino", ("openvino>=2026.1,<2026.5", _NUMPY))
_LLAMA_CPP_PYTHON = Environment(
    "llama-cpp-python",
    # The release whose sdist our own llama.cpp may come from (images.toml).
    ("llama-cpp-python[server]==0.3.36",),
    compiles="llama.cpp, which takes minutes",
)

_INFERENCE = ("-m", "tools.bench.peers.inference", "--port", "{port}")


def _pytorch(name: str, dtype: str) -> PythonPeer:
    return PythonPeer(
        name=f"pytorch-{name}",
        what=f"PyTorch in {dtype} behind a minimal HTTP server that batches what waits",
        quantisations=("F16",),
        environment=_TORCH,
        arguments=(*_INFERENCE, "torch", "{file}", "--dtype", dtype),
    )


PYTORCH_FP32 = _pytorch("fp32", "float32")
PYTORCH_BF16 = _pytorch("bf16", "bfloat16")

#: Only beside a server on a GPU. A pass holds eight times what it does on a CPU: one of 4096 tokens
#: leaves a large GPU half idle.
PYTORCH_FP16_CUDA = PythonPeer(
    name="pytorch-fp16",
    what="PyTorch in float16 on the same GPU, behind the same minimal HTTP server",
    quantisations=("F16",),
    environment=_TORCH,
    arguments=(
        *(*_INFERENCE, "torch", "{file}"),
        *("--dtype", "float16", "--device", "cuda", "--most-tokens", "32768"),
    ),
)

ONNXRUNTIME = PythonPeer(
    name="onnxruntime",
    what="ONNX Runtime in float32 on the same module, exported, behind the same HTTP server",
    quantisations=("F16",),
    environment=_ONNXRUNTIME,
    arguments=(*_INFERENCE, "onnxruntime", "{file}"),
    exported=True,
)
OPENVINO = PythonPeer(
    name="openvino",
    what="OpenVINO on the same ONNX file, in the precision that it picks for the CPU, behind the "
    "same HTTP server",
    quantisations=("F16",),
    environment=_OPENVINO,
    arguments=(*_INFERENCE, "openvino", "{file}"),
    exported=True,
)
#: It takes texts only, cuts them at n_batch without a word, and has no /health.
LLAMA_CPP_PYTHON = PythonPeer(
    name="llama-cpp-python",
    what="llama-cpp-python's server, compiled by pip on this machine, with n_batch and n_ubatch "
    "raised to its context of 2048, at which it would otherwise cut inputs of over 512 tokens",
    quantisations=("F16", "Q8_0"),
    environment=_LLAMA_CPP_PYTHON,
    arguments=(
        *("-m", "llama_cpp.server", "--host", "127.0.0.1", "--port", "{port}"),
        *("--model", "{file}", "--embedding", "true"),
        *("--n_batch", "2048", "--n_ubatch", "2048"),
    ),
    takes_tokens=False,
    health="/v1/models",
)

PEERS: Mapping[str, Peer] = {
    peer.name: peer
    for peer in (
        FIRST_SETUP,
        UPSTREAM,
        LLAMA_CPP_PYTHON,
        PYTORCH_FP32,
        PYTORCH_BF16,
        ONNXRUNTIME,
        OPENVINO,
    )
}
