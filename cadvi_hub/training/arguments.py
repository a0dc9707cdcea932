"""A training's arguments as people write them → as TRL's parser reads them."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from cadvi_hub.core.arguments import meant
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import Json
from cadvi_hub.core.recipe_file import with_packaged_recipes
from cadvi_hub.hub.cards import shipped

# Our other commands' names → those of transformers and TRL, which a recipe has.
ALIASES = {"model": "model_name_or_path", "out": "output_dir", "data": "dataset_name"}
DATA_SET, CONFIG = "dataset_name", "dataset_config"


def packaged_recipes() -> dict[str, Path]:
    """Name → file of the recipes that come with the package, as `llava-1.5-7b/v1`."""
    folder = shipped("training") / "recipes"
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in sorted(folder.rglob("*.yaml"))}


def written_out(argv: Sequence[str]) -> list[str]:
    """`argv` with the files of packaged recipes and TRL's keys.

    `--dataset_name data --dataset_config v1` becomes a mixture of this one source.

    Raises:
        InputError: a data set's configuration is given without its name.
    """
    written, one = list[str](), dict[str, str]()
    words = with_packaged_recipes(argv, packaged_recipes())
    while words:
        word = words.pop(0)
        key, equals, value = word.partition("=")
        name = ALIASES.get(key[2:], key[2:]) if key.startswith("--") else ""
        if name not in (DATA_SET, CONFIG):
            written.append(f"--{name}{equals}{value}" if name else word)
            continue
        if not equals:
            value = words.pop(0) if words and not words[0].startswith("--") else ""
        one[name] = value
    if CONFIG in one and DATA_SET not in one:
        raise InputError(f"--{CONFIG}", f"there is no --{DATA_SET}", "Name the folder or repository, too")
    if one:
        source = {"path": one[DATA_SET]} | ({"config": one[CONFIG]} if CONFIG in one else {})
        written += ["--mixture", json.dumps({one.get(CONFIG) or Path(one[DATA_SET]).name or "data": source})]
    return written


def check_keys(argv: Sequence[str], recipes: Sequence[tuple[Path, Json]], known: Collection[str]) -> None:
    """Check the keys of the command line and of recipes, (file, content).

    Raises:
        InputError: one does not exist; the error names those that look like it.
    """
    names = sorted(known)
    for word in argv:
        if word.startswith("--") and (name := word[2:].partition("=")[0]) not in known:
            raise InputError(f"--{name}"[:100], "there is no such key", meant(name, names))
    for file, content in recipes:
        for name in content:
            if name not in known:
                raise InputError(str(file), f"{name}: there is no such key", meant(str(name), names, ""))
