"""Pictures as a page shows them: checked, scaled down, and encoded anew, so that no foreign byte reaches a browser."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageStore, encode_png, open_image

NAMELESS = "picture without a name"


class Scale(NamedTuple):
    """Pixels up to which a picture is shown as it is, pixels to which a larger one is scaled down, WebP quality."""

    exact: int
    largest: int
    quality: int


FULL = Scale(160, 900, 85)
THUMBNAIL = Scale(128, 224, 80)  # a report holds hundreds of pictures in one file


class Picture(NamedTuple):
    """An encoded picture, "png" or "webp", and its size in pixels."""

    data: bytes
    kind: str
    width: int
    height: int


class Shown(NamedTuple):
    """A picture in a page: its address and size; or no address and the `problem` that keeps it from being shown."""

    url: str
    width: int = 0
    height: int = 0
    problem: str = ""


Address = Callable[[Picture], str]  # makes a picture reachable


def for_page(data: bytes, place: str, scale: Scale = FULL) -> Picture:
    """`data` decoded and encoded again; small pictures keep every pixel.

    Raises:
        InputError: it is not a picture, or too large; names `place`.
    """
    picture = open_image(data, place)
    if max(picture.size) <= scale.exact:
        return Picture(encode_png(picture), "png", *picture.size)
    picture.thumbnail((scale.largest, scale.largest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=scale.quality)
    return Picture(buffer.getvalue(), "webp", *picture.size)


def stored_bytes(image: Mapping[str, Any], store: ImageStore | None = None) -> bytes:
    """The encoded picture of a row, looked up in `store` if the row only names it.

    Raises:
        InputError: it is in neither.
    """
    name, data = image.get("path") or NAMELESS, image.get("bytes")
    if not data and store and image.get("path"):
        data = store.read(store.find(name))["bytes"]
    if not data:
        raise InputError(name, "the row only names it", "Name its folder with --images")
    return bytes(data)


def shown(image: Mapping[str, Any], address: Address, store: ImageStore | None = None) -> Shown:
    """The picture of a row; if it is broken or missing, the problem takes its place.

    Args:
        image: bytes and name, as a row has them.
        address: what makes it reachable.
        store: where to look up pictures that the row only names.
    """
    try:
        picture = for_page(stored_bytes(image, store), image.get("path") or NAMELESS)
    except InputError as error:
        return Shown("", problem=str(error))
    return Shown(address(picture), picture.width, picture.height)


def thumbnail(image: Mapping[str, Any], place: str) -> Shown:
    """The picture of a row, small and inside the page; if it is broken or missing, the problem takes its place."""
    try:
        picture = for_page(image["bytes"] or b"", place, THUMBNAIL)
    except InputError as error:
        return Shown("", problem=str(error))
    return Shown(data_url(picture), picture.width, picture.height)


def data_url(picture: Picture) -> str:
    """The picture itself as an address."""
    return f"data:image/{picture.kind};base64,{base64.b64encode(picture.data).decode()}"


def file_name(picture: Picture) -> str:
    """A name that depends on the content alone."""
    return f"{hashlib.sha256(picture.data).hexdigest()[:20]}.{picture.kind}"
