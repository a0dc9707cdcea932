"""Recipes are read once, and whatever cannot be a recipe is refused with its file."""

from pathlib import Path

import pytest

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.recipe_file import read_recipes, with_packaged_recipes


@pytest.mark.parametrize(
    "text",
    ["a: !!python/object:os.system {}", "a: 2020-13-45", "? [1]\n: 2", "- a", "a: *b", "a: [", "a: 1\n---\nb: 2"],
)
def test_what_yaml_cannot_build_is_refused_with_its_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"recipe\.yaml: it is not a"):
        read_recipes(["--config", str(file)])


def test_recipes_are_read_in_their_order(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("\ufefflora_r: 4\n", encoding="utf-8")
    second.write_text("")
    assert read_recipes(["--config", str(first), "--x", "1", f"--config={second}"]) == [
        (first, {"lora_r": 4}),
        (second, {}),
    ]


def test_a_file_of_the_user_wins_over_a_packaged_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    packaged = {"demo": Path("/packaged/demo.yaml")}
    assert with_packaged_recipes(["a", "--config=demo"], packaged) == ["a", "--config", "/packaged/demo.yaml"]
    assert with_packaged_recipes(["--config", "mine.yaml", "--config"], packaged) == [
        *("--config", "mine.yaml"),
        "--config",
    ]
    (tmp_path / "demo").write_text("")
    assert with_packaged_recipes(["--config", "demo"], packaged) == ["--config", "demo"]
