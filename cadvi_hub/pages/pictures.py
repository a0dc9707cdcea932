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

EXACT_SIZE, MAX_SIZE = 160, 900  # pixels: up to the first a picture is shown as it is, beyond the second scaled down

NAMELESS = "picture without a name"


class Picture(NamedTuple):
    """An encoded picture, "png" or "webp", and its size in pixels."""

    data: bytes
    kind: str
    width: int
    height: int


class Shown(NamedTuple):
    """A picture in a page: where it is, its size; or no address and the `problem` for which it cannot be shown."""

    url: str
    width: int = 0
    height: int = 0
    problem: str = ""


Address = Callable[[Picture], str]  # makes a picture reachable


def for_page(data: bytes, place: str) -> Picture:
    """`data` decoded and encoded again; small pictures keep every pixel.

    Raises:
        InputError: it is no picture, or too large; names `place`.
    """
    picture = open_image(data, place)
    if max(picture.size) <= EXACT_SIZE:
        return Picture(encode_png(picture), "png", *picture.size)
    picture.thumbnail((MAX_SIZE, MAX_SIZE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=85)
    return Picture(buffer.getvalue(), "webp", *picture.size)


def stored_bytes(image: Mapping[str, Any], store: ImageStore | None = None) -> bytes:
    """The encoded picture of a row, looked up in `store` where the row only names it.

    Raises:
        InputError: nobody has it.
    """
    name, data = image.get("path") or NAMELESS, image.get("bytes")
    if not data and store and image.get("path"):
        data = store.read(store.find(name))["bytes"]
    if not data:
        raise InputError(name, "the row only names it", "Name its folder with --images")
    return data


def shown(image: Mapping[str, Any], address: Address, store: ImageStore | None = None) -> Shown:
    """The picture of a row; one that is broken or missing says so in its place.

    Args:
        image: bytes and name, as a row has them.
        address: what makes it reachable.
        store: where pictures are looked up that the row only names.
    """
    try:
        picture = for_page(stored_bytes(image, store), image.get("path") or NAMELESS)
    except InputError as error:
        return Shown("", problem=str(error))
    return Shown(address(picture), picture.width, picture.height)


def data_url(picture: Picture) -> str:
    """The picture itself as an address."""
    return f"data:image/{picture.kind};base64,{base64.b64encode(picture.data).decode()}"


def file_name(picture: Picture) -> str:
    """A name that depends on the content alone."""
    return f"{hashlib.sha256(picture.data).hexdigest()[:20]}.{picture.kind}"
