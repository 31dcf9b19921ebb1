"""Where the checkout is, and its fact files and compose files."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMAGES_FILE = ROOT / "images" / "images.toml"
MODELS_FILE = ROOT / "models" / "models.toml"
COMPOSE_FILE = ROOT / "compose" / "compose.yaml"
#: On top of the other: an NVIDIA GPU.
CUDA_COMPOSE_FILE = ROOT / "compose" / "cuda.yaml"
#: On top of all others: a stack of a test or a demo.
TEMPORARY_COMPOSE_FILE = ROOT / "compose" / "temporary.yaml"
#: On top of the first: Prometheus and Grafana.
MONITORING_COMPOSE_FILE = ROOT / "compose" / "monitoring" / "compose.yaml"
#: The Helm chart, and the values that it is rendered with to be checked.
CHART = ROOT / "deploy" / "helm" / "jina-embeddings-v5"
CHART_VARIANTS = CHART.parent / "variants.yaml"
