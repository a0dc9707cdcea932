"""The images of a build's rows: checked once, then embedded or named."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from itertools import combinations
from typing import NamedTuple, Protocol, TypeVar

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageStore, look_of, open_image
from cadvi_hub.core.schema import EmbeddedImage

BAD_PICTURE = "picture does not decode or is too large"
SAME_PICTURE = "pictures are the same file"
SAME_LOOK = "pictures look the same"


class _HasImages(Protocol):
    @property
    def images(self) -> tuple[str, ...]: ...


Record = TypeVar("Record", bound=_HasImages)


class _Seen(NamedTuple):
    """What is known of a picture that decodes: a digest of its bytes, and its look if looks are compared."""

    digest: bytes
    look: int


class Pictures:
    """The images of a source. Each is decoded once, before a model is asked about it.

    Args:
        store: where the images are.
        refuse: whether an image that does not decode ends the build.
        embed: whether rows contain the images, or only their names.
        same_look: bits in which the looks of two pictures of a pair must differ more; None does not compare looks.
    """

    def __init__(self, store: ImageStore, refuse: bool = True, embed: bool = True, same_look: int | None = None):
        self.store = store
        self._refuse, self._embed, self._same_look = refuse, embed, same_look
        self._seen: dict[str, _Seen | None] = {}  # None: it does not decode

    def usable(self, records: Sequence[Record], drops: Drops) -> list[Record]:
        """The records whose images all decode; the others are added to `drops`.

        Raises:
            InputError: an image that does not decode, if bad ones are refused.
        """
        kept = []
        for record in records:
            bad = [name for name in record.images if self._look_at(name) is None]
            if bad:
                drops.add(BAD_PICTURE, bad[0])
            else:
                kept.append(record)
        return kept

    def different(self, pairs: Sequence[Record], drops: Drops) -> list[Record]:
        """The usable pairs of different pictures; those of a picture with its copy are added to `drops`, too."""
        kept = []
        for pair in self.usable(pairs, drops):
            if reason := self._sameness(pair.images):
                drops.add(reason, " and ".join(pair.images))
            else:
                kept.append(pair)
        return kept

    def _sameness(self, names: Sequence[str]) -> str:
        """Why two of the pictures count as one, or ""."""
        for first, second in combinations(map(self._look_at, names), 2):
            if first and second and first.digest == second.digest:
                return SAME_PICTURE
            if first and second and self._looks_alike(first.look, second.look):
                return SAME_LOOK
        return ""

    def read(self, name: str) -> bytes:
        """The bytes of the image file."""
        return self.store.read(name)["bytes"] or b""

    def embed(self, names: Sequence[str]) -> list[EmbeddedImage]:
        """The image files, each with its name; without the bytes if rows contain only names.

        Raises:
            InputError: rows contain only names, and an image has none.
        """
        if self._embed:
            return [self.store.read(name) for name in names]
        files = [self.store.file_name(name) for name in names]
        if None in files:
            raise InputError("images", "images of the source have no file names to refer to", "Embed them")
        return [{"bytes": None, "path": file} for file in files]

    def _looks_alike(self, first: int, second: int) -> bool:
        return self._same_look is not None and (first ^ second).bit_count() <= self._same_look

    def _look_at(self, name: str) -> _Seen | None:
        if name not in self._seen:
            data = self.read(name)
            try:
                picture = open_image(data, name)
            except InputError as error:
                if self._refuse:
                    hint = f"{error.hint}, or set source.bad_rows to drop"
                    raise InputError(error.where, error.problem, hint) from error
                self._seen[name] = None
            else:
                look = 0 if self._same_look is None else look_of(picture)
                self._seen[name] = _Seen(blake2b(data, digest_size=16).digest(), look)
        return self._seen[name]
