"""The names for notebooks and scripts: their examples hold, and all of them are documented."""

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import cadvi_hub
from cadvi_hub import api
from cadvi_hub.core.errors import InputError


def test_the_examples_in_the_docstrings_hold() -> None:
    results = doctest.testmod(api, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.attempted >= 8
    assert results.failed == 0


def test_every_name_is_exported_and_documented() -> None:
    assert sorted(cadvi_hub.__all__) == sorted(api.__all__)
    for name in cadvi_hub.__all__:
        assert getattr(cadvi_hub, name) is getattr(api, name)
        assert getattr(api, name).__doc__
    with pytest.raises(AttributeError, match="no_such_name"):
        cadvi_hub.no_such_name  # noqa: B018


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = "import cadvi_hub, sys; assert not {'torch', 'spacy', 'numpy', 'jsonargparse'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_keyword_arguments_are_checked_as_on_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean --pairs"):
        api.build("v1", tmp_path, tmp_path / "out", pears=1)
    with pytest.raises(InputError, match="min_shared"):
        api.mine_pairs({}, min_shared=0)


def test_a_build_from_captions_ends_with_its_folder(tmp_path: Path) -> None:
    from PIL import Image

    from cadvi_hub import build

    lines = []
    for number, color in enumerate(("red", "blue", "green")):
        Image.new("RGB", (8, 8), color).save(tmp_path / f"{number}.png")
        caption = f"A {color} kite over a wide beach."
        lines.append(f'{{"dataset_id": "m", "image_id": "{number}", "caption": "{caption}", "image": "{number}.png"}}')
    (tmp_path / "captions.jsonl").write_text("\n".join(lines))
    built = build("v1", tmp_path, tmp_path / "data", pairs={"min_shared": 1})
    assert built == tmp_path / "data/v1"
    assert list(built.glob("*.parquet"))


def test_scores_need_one_answer_for_each_question() -> None:
    with pytest.raises(InputError, match="1 answers for 2 right ones"):
        api.score(["A"], ["A", "B"], ["A", "B"])
