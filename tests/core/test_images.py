"""Pictures of other people: upright RGB whatever their mode, and refused when too large or broken."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cadvi_hub.core import images
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import (
    FORMATS,
    MAX_PIXELS,
    begins_as_image,
    encode_png,
    open_image,
    plain_bytes,
    read_image,
)

RED, WHITE = (255, 0, 0), (255, 255, 255)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def palette(index: int) -> Image.Image:
    image = Image.new("P", (4, 3), index)
    image.putpalette([0, 255, 0, *RED])
    return image


def deep(value: int) -> Image.Image:
    return Image.fromarray(np.full((3, 4), value, np.uint16))


@pytest.mark.parametrize(
    ("data", "color"),
    [
        pytest.param(encoded(Image.new("RGB", (4, 3), RED)), RED, id="RGB"),
        pytest.param(encoded(Image.new("RGBA", (4, 3), (*RED, 255))), RED, id="RGBA opaque"),
        pytest.param(encoded(Image.new("RGBA", (4, 3), (*RED, 0))), WHITE, id="RGBA transparent"),
        pytest.param(encoded(Image.new("RGBA", (4, 3), (*RED, 128))), (255, 127, 127), id="RGBA half"),
        pytest.param(encoded(palette(1)), RED, id="P"),
        pytest.param(encoded(palette(1), transparency=1), WHITE, id="P transparent"),
        pytest.param(encoded(palette(1), transparency=0), RED, id="P with another colour transparent"),
        pytest.param(encoded(Image.new("L", (4, 3), 77)), (77, 77, 77), id="L"),
        pytest.param(encoded(Image.new("L", (4, 3), 77), transparency=77), WHITE, id="L transparent"),
        pytest.param(encoded(Image.new("LA", (4, 3), (77, 0))), WHITE, id="LA transparent"),
        pytest.param(encoded(Image.new("1", (4, 3), 1)), WHITE, id="1"),
        pytest.param(encoded(deep(0)), (0, 0, 0), id="16 bit black"),
        pytest.param(encoded(deep(65535)), WHITE, id="16 bit white"),
        pytest.param(
            encoded(deep(32768)),
            (128, 128, 128),
            id="16 bit grey",
        ),
        pytest.param(
            encoded(Image.new("RGB", (4, 3), RED), transparency=RED),
            WHITE,
            id="RGB with a transparent colour",
        ),
        pytest.param(encoded(Image.new("CMYK", (4, 3), (0, 255, 255, 0)), "TIFF"), RED, id="CMYK"),
        pytest.param(
            encoded(Image.new("RGB", (4, 3), RED), "GIF", save_all=True, append_images=[Image.new("RGB", (4, 3))]),
            RED,
            id="first frame of an animation",
        ),
    ],
)
def test_every_mode_becomes_rgb_with_white_for_transparent(data: bytes, color: tuple[int, int, int]) -> None:
    image = open_image(data, "a.png")
    assert (image.mode, image.size) == ("RGB", (4, 3))
    assert {image.getpixel((x, y)) for x in range(4) for y in range(3)} == {color}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_with_an_exif_orientation_stands_upright(orientation: int) -> None:
    upright = Image.new("RGB", (24, 16), "white")
    upright.paste("black", (0, 0, 8, 8))  # the top left is dark
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = open_image(encoded(stored, "JPEG", exif=exif, quality=100, subsampling=0), "a.jpg")
    assert image.size == (24, 16)
    assert np.abs(np.asarray(image).astype(int) - np.asarray(upright)).max() < 40


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims width × height pixels and holds next to none."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(10_000, 6_401), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_a_picture_that_is_too_large_is_refused_from_its_header(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(image: Image.Image) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(Image.Image, "load", decoded)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    assert size[0] * size[1] > MAX_PIXELS
    with pytest.raises(InputError) as error:
        open_image(bomb(*size), "bomb.png")
    assert error.value.where == "bomb.png"
    assert "exceeds" in error.value.problem or "too large" in error.value.problem


def test_the_largest_size_is_allowed_and_one_row_more_is_not() -> None:
    data = encoded(Image.new("RGB", (10, 10), RED))
    assert open_image(data, "a.png", max_pixels=100).size == (10, 10)
    with pytest.raises(InputError, match="exceeds 99"):
        open_image(data, "a.png", max_pixels=99)


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>404</html>", id="not a picture"),
        pytest.param(encoded(NOISE)[:5000], id="cut PNG"),
        pytest.param(encoded(NOISE, "JPEG")[:1500], id="cut JPEG"),
        pytest.param(encoded(NOISE, "GIF")[:1500], id="cut GIF"),
        pytest.param(encoded(NOISE, "WEBP")[:1000], id="cut WEBP"),
        pytest.param(encoded(NOISE, "TIFF")[:200], id="cut TIFF"),
        pytest.param(encoded(NOISE)[:20], id="cut header"),
    ],
)
def test_what_does_not_decode_whole_is_an_error_that_names_the_picture(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not decode") as error:
        open_image(data, "row 7")
    assert error.value.where == "row 7"
    file = tmp_path / "broken.png"
    file.write_bytes(data)
    with pytest.raises(InputError) as error:
        read_image(file)
    assert error.value.where == str(file)


def test_equal_pixels_give_equal_png_bytes_that_hold_them() -> None:
    first, second = encode_png(NOISE), encode_png(NOISE.copy())
    assert first == second
    assert open_image(first, "a.png").tobytes() == NOISE.tobytes()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(NOISE, "JPEG", exif=exif)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_bytes_in_which_every_reader_sees_the_same_are_not_encoded_anew(kind: str) -> None:
    data = encoded(NOISE, kind)
    assert plain_bytes(data, "a") is data


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(turned(), id="not upright"),
        pytest.param(encoded(NOISE.convert("CMYK"), "JPEG"), id="CMYK"),
        pytest.param(encoded(Image.new("RGBA", (4, 3), (*RED, 0))), id="transparent"),
        pytest.param(encoded(Image.new("RGB", (4, 3), RED), transparency=RED), id="RGB with a transparent colour"),
        pytest.param(encoded(NOISE.convert("L")), id="grey"),
        pytest.param(encoded(NOISE, "BMP"), id="a format that not every reader knows"),
    ],
)
def test_bytes_that_readers_may_see_otherwise_become_what_we_see(data: bytes) -> None:
    plain = plain_bytes(data, "a")
    with Image.open(io.BytesIO(plain)) as image:
        assert (image.format, image.mode, image.info) == ("PNG", "RGB", {})
        assert image.tobytes() == open_image(data, "a").tobytes()


def test_only_core_images_opens_pictures_and_only_in_the_allowed_formats() -> None:
    package = Path(images.__file__).parents[1]
    users = [str(file.relative_to(package)) for file in package.rglob("*.py") if "Image.open(" in file.read_text()]
    assert users == ["core/images.py"]
    assert set(FORMATS) == {"JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "MPO"}


@pytest.mark.parametrize("kind", ["EPS", "PPM", "ICO", "PCX", "TGA", "PDF", "SGI", "DDS", "IM"])
def test_a_picture_of_another_format_is_refused_and_starts_no_program(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr("subprocess.Popen", start)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, kind)
    with pytest.raises(InputError, match="none of JPEG, PNG"):
        open_image(buffer.getvalue(), "a.png")
    assert not begins_as_image(buffer.getvalue()[:16])


@pytest.mark.parametrize("kind", FORMATS)
def test_every_allowed_format_is_read(kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, kind)
    assert open_image(buffer.getvalue(), "picture").size == (8, 8)
    assert begins_as_image(buffer.getvalue()[:16])
