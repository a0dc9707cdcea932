"""The images of a build's rows: checked once, then embedded or named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageStore, open_image
from cadvi_hub.core.schema import EmbeddedImage

BAD_PICTURE = "picture does not decode or is too large"


class _HasImages(Protocol):
    @property
    def images(self) -> tuple[str, ...]: ...


Record = TypeVar("Record", bound=_HasImages)


class Pictures:
    """The images of a source. Each is decoded once, before a model is asked about it.

    Args:
        store: where the images are.
        refuse: whether an image that does not decode ends the build.
        embed: whether rows contain the images, or only their names.
    """

    def __init__(self, store: ImageStore, refuse: bool = True, embed: bool = True):
        self.store = store
        self._refuse, self._embed = refuse, embed
        self._decodes: dict[str, bool] = {}

    def usable(self, records: Sequence[Record], drops: Drops) -> list[Record]:
        """The records whose images all decode; the others are added to `drops`.

        Raises:
            InputError: an image that does not decode, if bad ones are refused.
        """
        kept = []
        for record in records:
            bad = [name for name in record.images if not self._check(name)]
            if bad:
                drops.add(BAD_PICTURE, bad[0])
            else:
                kept.append(record)
        return kept

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

    def _check(self, name: str) -> bool:
        if name not in self._decodes:
            try:
                open_image(self.read(name), name)
            except InputError as error:
                if self._refuse:
                    hint = f"{error.hint}, or set source.bad_rows to drop"
                    raise InputError(error.where, error.problem, hint) from error
                self._decodes[name] = False
            else:
                self._decodes[name] = True
        return self._decodes[name]
