"""The pictures of questions: found, decoded once to see that they are whole, and embedded."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageFolders, encode_png, plain_bytes
from cadvi_hub.core.schema import EmbeddedImage
from cadvi_hub.eval.benchmarks.benchmark import Benchmark
from cadvi_hub.eval.benchmarks.question import PictureSource, Question
from cadvi_hub.eval.benchmarks.under_way import KeptQuestions

NOT_FOUND, BROKEN = "picture not found", "picture does not decode"
_KEPT = 64  # pictures; the questions of a pair, and sentences about one pair of images, follow each other
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif")
_ARRAY = ".npy"
_HAS_SUFFIX = re.compile(r"\.[a-z]{3,4}$", re.IGNORECASE)


class PictureError(InputError):
    """A picture that cannot be embedded; `reason` is what such pictures are counted under."""

    def __init__(self, reason: str, error: InputError):
        super().__init__(error.where, error.problem, error.hint)
        self.reason = reason


class Pictures:
    """Pictures below one or several folders.

    A name without a suffix, as an image id, is that of `<name>.jpg` and so on where no such file is there.

    Args:
        roots: the folders; the first that has a name wins.
        search: whether names are looked for in all that lies below the folders.
    """

    def __init__(self, roots: Sequence[Path], search: bool = True):
        for root in roots:
            if not root.is_dir():
                raise InputError("images", f"{root} is no folder", "Name a folder that is there")
        self._store = ImageFolders(roots, search) if roots else None
        self._embedded = lru_cache(_KEPT)(self._embed_file)

    def embed(self, image: EmbeddedImage) -> EmbeddedImage:
        """The picture as it is stored when it is plain RGB, else as PNG of what a model sees (upright, white behind
        transparency); one that has bytes already is not looked up.

        Raises:
            PictureError: it is missing, ambiguous, outside of the folders, or does not decode.
        """
        name = image["path"] or ""
        return self._embedded(name) if image["bytes"] is None else plain(image["bytes"], name)

    def _embed_file(self, name: str) -> EmbeddedImage:
        try:
            name, data = self._read(name)
        except InputError as error:
            raise PictureError(NOT_FOUND, error) from error
        return _array(data, name) if name.endswith(_ARRAY) else plain(data, name)

    def _read(self, name: str) -> tuple[str, bytes]:
        """The picture's name, with its suffix, and the bytes of its file."""
        if self._store is None:
            raise InputError(name, "no folder of pictures was named", "Name it by --images")
        tried = [name] if _HAS_SUFFIX.search(name) else [name, *(name + suffix for suffix in _SUFFIXES)]
        missing: InputError | None = None
        for full in tried:
            try:
                return full, self._store.read(self._store.find(full))["bytes"] or b""
            except InputError as error:
                missing = missing or error
        raise missing or AssertionError(name)


def plain(data: bytes, name: str) -> EmbeddedImage:
    """The encoded picture `data` for a row, decoded once.

    Raises:
        PictureError: it does not decode.
    """
    try:
        return {"bytes": plain_bytes(data, name), "path": name}
    except InputError as error:
        raise PictureError(BROKEN, error) from error


def _array(data: bytes, name: str) -> EmbeddedImage:
    """A frame stored as a NumPy array (height × width × BGR, bytes) as PNG."""
    import numpy as np

    try:
        pixels = np.load(io.BytesIO(data), allow_pickle=False)
        picture = Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1]), "RGB")
    except (ValueError, IndexError, TypeError, EOFError, OSError) as error:
        broken = InputError(name, f"no array of BGR pixels ({error})", "Replace the file")
        raise PictureError(BROKEN, broken) from error
    return {"bytes": encode_png(picture), "path": name}


class MissingPictures(Protocol):
    """Takes down what is left out."""

    def add(self, question: Question, name: str, error: PictureError) -> None: ...


def embedded_rows(
    benchmark: Benchmark,
    questions: Iterable[Question],
    pictures: PictureSource,
    missing: MissingPictures,
    kept: KeptQuestions,
) -> Iterator[dict[str, Any]]:
    """The rows (`schema.question_features()`) of all questions whose pictures are there; pairs go as a whole.

    Those of `kept` stand in shards already and are not read again.

    Raises:
        StaleShardsError: a question that should stand before some of `kept` has its pictures now.
    """
    for unit in _units(benchmark, questions):
        if kept.take(unit):
            continue
        rows: list[dict[str, Any]] = []
        faults: dict[str, PictureError] = {}
        for question in unit:
            images = []
            for name, image in zip(question.names, question.images, strict=True):
                try:
                    images.append(pictures.embed(image))
                except PictureError as error:
                    faults[name] = error
            rows.append(question.row(benchmark.name, images))
        for question in unit:
            for name, problem in faults.items():
                missing.add(question, name, problem)
        if not faults:
            kept.check_no_more()
            yield from rows
    kept.check_no_more()


def _units(benchmark: Benchmark, questions: Iterable[Question]) -> Iterator[list[Question]]:
    """Questions that are of use together alone; halves of a pair follow each other."""
    if not benchmark.in_pairs:
        return ([question] for question in questions)
    return (list(halves) for _, halves in groupby(questions, key=lambda question: question.group))
