"""Arguments as people write them: lists in words, flags without a value, keys of other tools, mistyped keys."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cadvi_hub.core.arguments import check_recipe_keys, nearest, written_out
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.keys import groups_of, help_text, keys_of


@dataclass
class Inner:
    """How.

    Attributes:
        seed: of the choice.
        addresses: one or several.
    """

    seed: int = 0
    addresses: str | list[str] = ""


@dataclass
class Outer:
    """What.

    Attributes:
        model: to run.
        out: folder.
        names: of the sets.
        files: to read.
        is_fast: less care.
        trainings: name to folder.
        inner: how it is done.
    """

    model: str
    out: Path = Path("out")
    names: Sequence[str] = ()
    files: list[Path] = field(default_factory=list)
    is_fast: bool = False
    trainings: dict[str, Path] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)


KEYS = list(keys_of(Outer))


@pytest.mark.parametrize("words", [["a,b"], ["a", "b"], ["a,", "b"], ["a", ",b"], ['["a", "b"]'], ["a , b"]])
def test_a_list_takes_commas_spaces_or_json(words: list[str]) -> None:
    (written,) = written_out(KEYS, ["--names", *words])
    key, _, value = written.partition("=")
    assert (key, json.loads(value)) == ("--names", ["a", "b"])


def test_a_list_of_one_is_a_list_unless_the_key_also_takes_one_alone(tmp_path: Path) -> None:
    assert written_out(KEYS, ["--files", "a.txt"]) == ['--files=["a.txt"]']
    assert written_out(KEYS, ["--inner.addresses", "http://a/v1"]) == ["--inner.addresses=http://a/v1"]
    assert written_out(KEYS, ["--inner.addresses=b,c"]) == ['--inner.addresses=["b", "c"]']
    with_comma = tmp_path / "one, two"
    with_comma.mkdir()
    assert json.loads(written_out(KEYS, ["--files", str(with_comma)])[0].partition("=")[2]) == [str(with_comma)]


def test_flags_need_no_value_and_keep_one() -> None:
    assert written_out(KEYS, ["--is_fast", "--model", "m"]) == ["--is_fast=true", "--model=m"]
    assert written_out(KEYS, ["--model", "m", "--is_fast"]) == ["--model=m", "--is_fast=true"]
    assert written_out(KEYS, ["--is_fast", "false"]) == ["--is_fast=false"]
    assert written_out(KEYS, []) == []


def test_other_tools_names_become_ours_where_we_have_such_a_key() -> None:
    assert written_out(KEYS, ["--model_name_or_path", "m", "--output_dir=o"]) == ["--model=m", "--out=o"]
    with pytest.raises(InputError, match="no such key"):
        written_out(KEYS, ["--dataset_name", "d"])


def test_groups_items_of_mappings_and_negative_numbers_stay_as_they_are() -> None:
    arguments = ["--trainings.v1", "folder", "--inner", "{seed: 1}", "--names+", "c"]
    assert written_out(KEYS, arguments) == arguments
    assert written_out(KEYS, ["--inner.seed", "-1"]) == ["--inner.seed=-1"]


def test_an_unknown_key_is_refused_with_those_that_look_like_it() -> None:
    with pytest.raises(InputError, match=r"--sed: .* Did you mean --inner\.seed"):
        written_out(KEYS, ["--sed", "1"])
    with pytest.raises(InputError, match="See --help"):
        written_out(KEYS, ["--qqqqq", "1"])
    assert nearest("seed", [key.name for key in KEYS]) == ["inner.seed"]
    check_recipe_keys("r.yaml", {"model": "m", "inner": {"seed": 1}, "trainings": {"any": "x"}}, KEYS)
    with pytest.raises(InputError, match=r"r\.yaml: inner\.sead: .* Did you mean --inner\.seed"):
        check_recipe_keys("r.yaml", {"inner": {"sead": 1}}, KEYS)


def test_help_has_every_key_with_its_group_type_and_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    shown = help_text(Outer, "do [--key value …]", "do it", "do --model m", {})
    assert all(f"--{key.name}" in shown for key in KEYS)
    required = shown.partition("required:")[2].partition("optional:")[0]
    assert "--model TEXT\n        to run." in required
    assert "--inner.seed INT\n        of the choice. Default: 0." in shown.partition("inner: how it is done.")[2]
    assert list(groups_of(Outer)) == [("inner", "how it is done.")]
