"""Reading pictures from strangers: never too large, never half read, never outside their folder."""

import io
import os
import re
import warnings
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol

from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import read_file
from cadvi_hub.core.schema import EmbeddedImage

MAX_PIXELS = 64_000_000  # 64 megapixels decode to 192 MB of RGB
# Pillow knows 43 formats and hands some to other programs, such as PostScript to Ghostscript. No file is opened as
# anything but one of these, whatever its name says.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "MPO")
_OPENED = [name for name in FORMATS if name != "MPO"]  # which Pillow opens as a JPEG
_SUFFIX = re.compile(r"\.(?:jpe?g|png|gif|bmp|webp|tiff?)$", re.IGNORECASE)
_COCO_PREFIX = re.compile(r"^COCO_(?:train|val|test)20\d\d_(?=\d{12}$)")
_COLA_PREFIX = re.compile(r"^\d{1,3}_(?=[1-9]\d{3,6}$)")  # the number of the pair, before Visual Genome's id
_PLAIN = ("JPEG", "PNG", "WEBP")  # formats that every reader knows
LONGEST_SHOWN = 200  # characters of a file name in an error
_KNOWN = 10_000  # pictures whose path is cached: finding a file takes longer than reading it


def image_id(name: str) -> str:
    """The id of an image, which is the same in all sets that hold it."""
    return _COLA_PREFIX.sub("", _COCO_PREFIX.sub("", _SUFFIX.sub("", name.rpartition("/")[2])))


def image_file(root: Path, name: str) -> Path:
    """The path of image `name` below `root`.

    Raises:
        InputError: the name leads out of `root`, is not a valid file name, or no such file exists.
    """
    shown = repr(name if len(name) <= LONGEST_SHOWN else name[:LONGEST_SHOWN] + "…")
    try:
        path = (root / name.replace("\0", "")).resolve()  # `resolve` raises ValueError for a NUL byte
        is_file = path.is_file()
    except (OSError, RuntimeError) as error:  # too long, no permission, a loop of links
        reason = error.strerror if isinstance(error, OSError) else "a loop of links"
        raise InputError(str(root), f"image name {shown} cannot be used ({reason})", "Fix its row") from error
    if "\0" in name or not path.is_relative_to(root.resolve()):
        hint = "Use names below the image folder (a link out of it is not followed)"
        raise InputError(str(root), f"image name {shown} leads out of the folder", hint)
    if not is_file:
        raise InputError(str(root), f"image {shown} is missing", "Put the file there or remove its row")
    return path


class ImageStore(Protocol):
    """The encoded pictures of a source, by name."""

    def find(self, name: str) -> str:
        """The name that `read` takes for the source's `name`; InputError if there is no such picture."""
        ...

    def file_name(self, name: str) -> str | None:
        """The name of the picture's file, or of the file it was embedded from; None if it is unknown."""
        ...

    def read(self, name: str) -> EmbeddedImage:
        """The picture's encoded bytes and its name; InputError if it is missing."""
        ...


class ImageFolders:
    """Pictures below one or several folders; the first folder that has a name wins.

    With `search`, a name that is not directly in a folder is searched in all their sub-folders: upstream files say
    `000000000139.jpg` for a picture in `coco/train2017`. The first such name builds an index of all files.

    A folder can be a link itself. Links inside that lead out of it are not followed, because a stranger's folder can
    link to anything: name the folder that they lead to.
    """

    def __init__(self, roots: Sequence[Path], search: bool = False):
        self.roots, self._search = list(roots), search
        self._file = lru_cache(_KNOWN)(self._look_up)
        self._found = lru_cache(_KNOWN)(self._find)  # a picture is in many rows

    def find(self, name: str) -> str:
        """The path below its folder of image `name`, or of the only file whose path ends in `name`.

        A file has one name, even if rows write it in several ways: `./a.jpg`, or with the path of its folder.

        Raises:
            InputError: no such file, two such files, or a name that leads out of the folders.
        """
        return self._found(name)

    def _find(self, name: str) -> str:
        try:
            self._file(name)
        except InputError:
            if not self._search or not (found := self._indexed(name)):
                raise
            return found
        path = Path(os.path.normpath(name))
        if path.is_absolute():
            path = next((path.relative_to(root) for root in self._places if path.is_relative_to(root)), path)
        if path.is_absolute() or self._file(path.as_posix()) != self._file(name):  # a link leads there
            file = self._file(name)
            path = next(file.relative_to(root) for root in self._places if file.is_relative_to(root))
        return path.as_posix()

    def file_name(self, name: str) -> str:
        return name

    def read(self, name: str) -> EmbeddedImage:
        file = self._file(name)
        try:
            return {"bytes": read_file(file), "path": name}
        except OSError as error:
            raise InputError(str(file), f"cannot be read ({error.strerror})", "Check its permissions") from error

    @cached_property
    def _places(self) -> list[Path]:
        """Absolute paths of the folders, as they are named and as they are."""
        return [place for root in self.roots for place in (Path(os.path.normpath(root.absolute())), root.resolve())]

    def _look_up(self, name: str) -> Path:
        for root in self.roots[:-1]:
            try:
                return image_file(root, name)
            except InputError:
                continue
        return image_file(self.roots[-1], name)

    def _indexed(self, name: str) -> str:
        paths = [path for path in self._index.get(name.rpartition("/")[2], ()) if f"/{path}".endswith(f"/{name}")]
        if len(paths) > 1:
            problem = f"image name {name!r} fits {paths[0]} and {paths[1]}"
            raise InputError(str(self.roots[0]), problem, "Name the folder of the right one in source.images")
        if paths and any("\ud800" <= character <= "\udfff" for character in paths[0]):
            problem = f"image {name!r} lies in a folder whose name is not UTF-8 ({paths[0]!r})"
            raise InputError(str(self.roots[0]), problem, "Rename the folder, or name it in source.images")
        return paths[0] if paths else ""

    @cached_property
    def _index(self) -> dict[str, tuple[str, ...]]:
        """File name → paths below a folder."""
        from tqdm import tqdm

        index: dict[str, tuple[str, ...]] = {}
        with tqdm(desc="index of pictures", unit=" files", disable=None) as bar:
            for root in self.roots:
                for folder, folders, files in os.walk(root):
                    folders.sort()
                    below = Path(folder).relative_to(root)
                    for file in files:
                        path = (below / file).as_posix()
                        if path not in index.get(file, ()):
                            index[file] = (*index.get(file, ()), path)
                    bar.update(len(files))
        return index


_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")


def begins_as_image(start: bytes) -> bool:
    """Whether `start`, 16 bytes or a whole file, is the beginning of a picture in one of `FORMATS`."""
    in_container = start[8:12] == b"WEBP" if start[:4] == b"RIFF" else start[4:12] in (b"ftypavif", b"ftypavis")
    return in_container or start.startswith(_BEGINNINGS)


def open_encoded(data: bytes) -> ImageFile.ImageFile:
    """The picture in `data` with its header read, in one of `FORMATS`; no pixel is decoded yet.

    Raises:
        UnidentifiedImageError: it is in none of these formats. For damaged files Pillow also raises other errors.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # who decodes it has a limit of their own
        return Image.open(io.BytesIO(data), formats=_OPENED)


def open_image(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode `data` to RGB, upright; transparent pixels become white.

    The size is checked from the header, before any pixel is decoded.

    Raises:
        InputError: not a picture, cut short, or larger than `max_pixels` (width × height).
    """
    try:
        image: Image.Image = open_encoded(data)
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
    except UnidentifiedImageError as error:  # its text only names the buffer
        problem = f"picture does not decode (damaged, or none of {', '.join(FORMATS)})"
        raise InputError(name, problem, "Replace the file or remove its row") from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, ValueError …
        raise InputError(name, f"picture does not decode ({error})", "Replace the file or remove its row") from error
    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value / 256).convert("L")  # Pillow would clip 16 bits to 8, not scale them
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def look_of(image: Image.Image) -> int:
    """256 bits that pictures share if they look the same, in any size or format: where brightness grows to the right.

    A difference hash (https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html) of 16 × 16.
    """
    small = image.convert("L").resize((17, 16), Image.Resampling.BOX, reducing_gap=3).tobytes()
    bits = (small[row + column] < small[row + column + 1] for row in range(0, 17 * 16, 17) for column in range(16))
    return sum(bit << place for place, bit in enumerate(bits))


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode the file at `path` with `open_image`."""
    return open_image(path.read_bytes(), str(path), max_pixels)


def plain_bytes(data: bytes, name: str) -> bytes:
    """`data` unchanged if every reader decodes it as `open_image` does, otherwise the decoded picture as PNG.

    Raises:
        InputError: as `open_image`.
    """
    image = open_image(data, name)
    with open_encoded(data) as stored:
        is_upright = stored.getexif().get(ExifTags.Base.Orientation, 1) == 1
        is_rgb = stored.mode == "RGB" and not stored.has_transparency_data
        return data if stored.format in _PLAIN and is_rgb and is_upright else encode_png(image)


def read_plain(images: ImageStore, name: str) -> bytes:
    """The picture `name` of `images`, as `plain_bytes`.

    Raises:
        InputError: it is missing, or as `open_image`.
    """
    return plain_bytes(images.read(name)["bytes"] or b"", name)


def encode_png(image: Image.Image) -> bytes:
    """PNG bytes of `image`; equal pixels give equal bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
