"""The names of an image: its local one, and the tags it is published under."""

from __future__ import annotations

from dataclasses import dataclass

from tools.images.version import Revision, order, published_version


@dataclass(frozen=True)
class Names:
    """The tags of a published image.

    ``fixed`` ones never change. Those ``of_commit`` stay with what was published first of a
    commit: its pre-release and its release have different labels. ``moving`` ones go forward.
    """

    fixed: tuple[str, ...]
    of_commit: tuple[str, ...]
    moving: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """Every one, in the order in which they are set."""
        return (*self.fixed, *self.of_commit, *self.moving)


def names(image: str, revision: Revision, *, fallback: bool, tested: bool = True) -> Names:
    """Return the tags under which the image flavour ``image`` is published.

    Only a release whose inputs are all from their first origins, and of which every platform was
    ``tested``, moves the short tags. A commit's own tag is for such images, too: one from
    ``fallback`` origins is not what others would get from that commit, and an untested one would
    keep the tag from one that is tested later.
    """
    version = published_version(revision, fallback=fallback)
    major, minor, _, release, _ = order(version)
    fixed = (f"{version}-{image}",)
    if fallback or not tested:
        return Names(fixed, (), ())
    moving = (f"{major}.{minor}-{image}", image) if release else ()
    return Names(fixed, (f"sha-{revision.commit}-{image}",), moving)
