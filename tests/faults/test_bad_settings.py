"""Numbers that nobody should give: every command refuses each of them with its range."""

import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

from hypothesis import given, settings
from hypothesis import strategies as st

from cadvi_hub import cli
from cadvi_hub.core.ranges import Range
from tests.faults.record import Faults


class Key(NamedTuple):
    """A number among the settings of a command."""

    command: str
    name: str
    allowed: Range
    is_whole: bool
    form: str = "{}"  # how the number is written: in a mapping, say


def _numbers(command: str, settings_class: Any, prefix: str = "") -> Iterator[Key]:
    for name, hint in get_type_hints(settings_class, include_extras=True).items():
        if dataclasses.is_dataclass(hint):
            yield from _numbers(command, hint, f"{prefix}{name}.")
        for part in (hint, *get_args(hint)):
            if get_origin(part) is Annotated:
                form = "{{x: {}}}" if get_origin(hint) is dict else "{}"
                yield Key(command, prefix + name, part.__metadata__[0], get_args(part)[0] is int, form)
            else:
                assert part not in (int, float) or get_origin(hint) is Annotated, (
                    f"{command} --{prefix}{name}: no range"
                )


KEYS = [key for name, command in cli.COMMANDS.items() for key in _numbers(name, command.load(command.settings))]


def needed(command: str, folder: Path) -> list[str]:
    """What the command cannot do without."""
    arguments = []
    positional = cli.COMMANDS[command].positional
    for field in dataclasses.fields(cli.COMMANDS[command].load(cli.COMMANDS[command].settings)):
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING:
            continue
        if field.name == "source":
            arguments += ["--source.path", str(folder), "--source.name", "x"]
        elif field.name in ("models", "data"):
            arguments += [f"--{field.name}", '{"a": "b"}']
        elif positional and positional.field == field.name:
            arguments += [f"--{positional.key}", "v1"]
        else:
            arguments += [f"--{field.name}", "dataset" if field.name == "kind" else str(folder / field.name)]
    return arguments


WRONG_TYPES = ["", "many", "nan", "-inf", "[1]", "{a: 1}", "0x", "1;2", "1e999", "--", "1" * 3000]


@st.composite
def bad_numbers(draw: st.DrawFn, keys: list[Key] = KEYS) -> tuple[Key, str]:
    key = draw(st.sampled_from(keys))
    least, most = key.allowed.least, key.allowed.most
    below = st.integers(-(10**40), math.floor(least) - (0 if key.allowed.open_below else 1))
    kinds = [st.sampled_from(WRONG_TYPES), below.map(str)]
    if most < math.inf:
        kinds.append(st.integers(math.floor(most) + 1, 10**40).map(str))
    if key.is_whole:
        kinds.append(st.floats(0.01, 0.99).map(lambda part: str(least + 1 + part)))
    return key, key.form.format(draw(st.one_of(kinds)))


def test_every_bad_number_of_every_command_is_refused_with_its_range(faults: Faults, tmp_path: Path) -> None:
    count = faults("bad numbers in settings")
    assert len(KEYS) > 40

    @given(bad_numbers())
    @settings(max_examples=150, deadline=None, derandomize=True, database=None)
    def refuse(bad: tuple[Key, str]) -> None:
        key, value = bad
        before = count.numbers["refused"]
        said = count.cadvi(*key.command.split(), *needed(key.command, tmp_path), f"--{key.name}={value}")
        assert count.numbers["refused"] == before + 1, f"{key} takes {value}"
        assert key.name in said, said
        if re.fullmatch(r"(\{x: )?-?\d+\}?", value):
            assert f"Give a number, {key.allowed!r}" in said

    refuse()
    assert list(tmp_path.iterdir()) == []  # before anything is written
