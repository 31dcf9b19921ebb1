"""Platforms as Docker names them: linux/amd64, linux/arm64."""

from __future__ import annotations


def architecture(platform: str) -> str:
    """Return a platform's architecture as Docker and Debian call it: amd64, arm64."""
    return platform.partition("/")[2]
