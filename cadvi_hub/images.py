"""Reading pictures that come from other people: never too large, never half read, never outside their folder."""

import io
import warnings
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from cadvi_hub.errors import InputError

MAX_PIXELS = 50_000_000  # 50 megapixels decode to 150 MB of RGB
LONGEST_SHOWN = 200  # characters of a file name in an error


def image_file(root: Path, name: str) -> Path:
    """The path of image `name` below `root`.

    Raises:
        InputError: the name leads out of `root`, is none that the file system takes, or no such file is there.
    """
    shown = repr(name if len(name) <= LONGEST_SHOWN else name[:LONGEST_SHOWN] + "…")
    try:
        path = (root / name.replace("\0", "")).resolve()  # no file name holds a NUL byte; `resolve` stumbles over one
        is_file = path.is_file()
    except (OSError, RuntimeError) as error:  # too long, not to be looked up, a loop of links
        reason = error.strerror if isinstance(error, OSError) else "a loop of links"
        raise InputError(str(root), f"image name {shown} cannot be used ({reason})", "Mend its row") from error
    if "\0" in name or not path.is_relative_to(root.resolve()):
        raise InputError(str(root), f"image name {shown} leads out of the folder", "Use names below the image folder")
    if not is_file:
        raise InputError(str(root), f"image {shown} is missing", "Put the file there or remove its row")
    return path


def open_image(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode `data` to RGB, upright; transparent pixels become white.

    The size is checked from the header, before any pixel is decoded.

    Raises:
        InputError: not a picture, cut short, or larger than `max_pixels` (width × height).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is checked next
            image: Image.Image = Image.open(io.BytesIO(data))
        width, height = image.size
        if width * height > max_pixels:
            raise InputError(
                name, f"picture of {width} × {height} pixels exceeds {max_pixels}", "Scale it down or remove its row"
            )
        image.load()
        image = ImageOps.exif_transpose(image)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(name, f"picture is too large ({error})", "Scale it down or remove its row") from error
    except UnidentifiedImageError as error:  # its text names the buffer, which tells nobody anything
        fault = "picture does not decode (damaged, or of an unknown format)"
        raise InputError(name, fault, "Replace the file or remove its row") from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, ValueError …
        raise InputError(name, f"picture does not decode ({error})", "Replace the file or remove its row") from error
    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value / 256).convert("L")  # Pillow would clip 16 bits to 8, not scale them
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode the file at `path` as `open_image` does."""
    return open_image(path.read_bytes(), str(path), max_pixels)


def encode_png(image: Image.Image) -> bytes:
    """PNG bytes of `image`; equal pixels give equal bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
