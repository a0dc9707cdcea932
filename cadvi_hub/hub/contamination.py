"""Count the images of a data set that are also in other sets: benchmarks, training mixes, its own other configs.

Images are compared by file name, without folder, suffix and COCO's older prefix: `coco/train2017/000000000139.jpg`
and `COCO_val2014_000000000139.jpg` are the same image, and so are Visual Genome's `VG_100K/1.jpg` and GQA's `1.jpg`.
Pixels are not compared. So two collections that number their images alike count as shared (one too many is better than
one too few), and a copy with another name is not found: half of Visual Genome's images are COCO's, with other ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import image_id
from cadvi_hub.core.parquet import image_names
from cadvi_hub.sources.held_out import Names, names_of_rows


@dataclass(frozen=True)
class Overlap:
    """What one config shares with one other set.

    Attributes:
        config: name of the config.
        other: name of the other set.
        images: distinct images of the config.
        shared_images: those that are also in the other set.
        rows: rows of the config.
        shared_rows: rows with at least one shared image.
        unnamed: images in the config's rows without a name, which cannot be compared.
    """

    config: str
    other: str
    images: int
    shared_images: int
    rows: int
    shared_rows: int
    unnamed: int


def find_overlaps(configs: Mapping[str, Sequence[Path]], others: Mapping[str, Path]) -> list[Overlap]:
    """Look for the images of every config in every other config and in each set of `others`.

    All files are streamed. Only the ids of the configs' own images stay in memory.

    Args:
        configs: name of each config → its parquet files; configs without images are skipped.
        others: name on the card → place, see `held_out.names_of_rows`.

    Raises:
        InputError: a place of `others` cannot be read or names no image.
    """
    ids = {config: _ids(_image_names(files, config)) for config, files in configs.items()}
    ids = {config: images for config, images in ids.items() if images}
    shared: dict[str, dict[str, set[str]]] = {config: {} for config in ids}
    for config, images in ids.items():
        for other in ids.keys() - {config}:
            shared[config][f"{other} of this data set"] = images & ids[other]
    for other, place in others.items():
        found: dict[str, set[str]] = {config: set() for config in ids}
        read = 0
        for names in names_of_rows(place):
            read += len(names)
            for image in map(image_id, filter(None, names)):
                for config, images in ids.items():
                    if image in images:
                        found[config].add(image)
        if not read:
            raise InputError(str(place), "it names no image", "Give a file or folder whose rows name their images")
        for config in ids:
            shared[config][other] = found[config]
    return [overlap for config in ids for overlap in _count(config, configs[config], len(ids[config]), shared[config])]


def _count(config: str, files: Sequence[Path], images: int, shared: Mapping[str, set[str]]) -> list[Overlap]:
    rows, unnamed, shared_rows = 0, 0, dict.fromkeys(shared, 0)
    for names in _image_names(files, config):
        row = {image_id(name) for name in names if name}
        rows += 1
        unnamed += len([name for name in names if not name])
        for other, common in shared.items():
            shared_rows[other] += not row.isdisjoint(common)
    return [
        Overlap(config, other, images, len(shared[other]), rows, shared_rows[other], unnamed)
        for other in sorted(shared)
    ]


def _ids(rows: Iterable[Names]) -> set[str]:
    return {image_id(name) for names in rows for name in names if name}


def _image_names(files: Sequence[Path], name: str) -> Iterator[Names]:
    """The image names of every row; nothing for files without a column of images."""
    from tqdm import tqdm

    for path in tqdm(files, desc=f"images of {name}", unit="file", disable=None):
        with suppress(LookupError):
            yield from image_names(path)
