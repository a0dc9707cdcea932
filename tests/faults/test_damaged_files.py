"""Files that are cut, mixed up, of another type or endless: every command ends soon, in one line, without a traceback.

hypothesis chooses the command, the file and the damage; the same examples are tried in every run.
"""

import functools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.record import Faults
from tests.support.builds import captioned_source, picture, similar_source
from tests.support.report_parts import data_set, evaluation, judged

EXAMPLES = 260


class Case(NamedTuple):
    """A command on the folder of files, and which of them may be damaged; `{}` is the folder."""

    command: str
    damaged: str


CASES = [
    Case("build v1 --source.path {}/captioned --source.name c --out {}/new --pairs.min_shared 1", "captioned/*"),
    Case("pairs mine v2 --source.path {}/similar --source.name s --out {}/new", "similar/**/*"),
    Case("build instruct --source.path {}/mix --source.name m --out {}/new", "mix/*"),
    Case("build cad_qa --source.path {}/questions --source.name q --out {}/new", "questions/*"),
    Case("pairs mine v1 --source.path {}/captioned --source.name c --out {}/new", "captioned/*"),
    Case("pairs explain --folder {}/data/v1", "data/v1/*"),
    Case("ground --folder {}/data/v1 --graphs {}/graphs", "graphs/*"),
    Case("ground --folder {}/data/v1 --graphs {}/graphs", "data/v1/*"),
    Case("benchmarks build bison --questions {}/bison.jsonl --images {}/captioned --out {}/new", "bison.jsonl"),
    Case("benchmarks build cad_summary --questions {}/data/v1 --out {}/new", "data/v1/*"),
    Case("compare --first {}/one --second {}/two --resamples 5", "one/**/*"),
    Case("report {}/one {}/two --data {}/data --out {}/new", "two/**/*"),
    Case("report {}/one {}/two --data {}/data --out {}/new", "data/v1/*"),
    Case("view {}/one --data {}/data --export {}/new --rows 2", "one/**/*"),
    Case("view {}/one --data {}/data --export {}/new --rows 2", "data/v1/*"),
    Case("nlvr --path {}/nlvr --out {}/new", "nlvr/*"),
    Case("demo --config {}/recipe.yaml", "recipe.yaml"),
    Case("build v1 --config {}/recipe.yaml", "recipe.yaml"),
]
RECIPE = "seed: 0\nout: new\npairs: {min_shared: 2}\nsource: {path: captioned, name: c}\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small file of every kind that a command reads."""
    folder = tmp_path_factory.mktemp("base")
    captioned_source(folder / "captioned")
    similar_source(folder / "similar")
    for name in ("mix", "questions", "graphs", "nlvr"):
        (folder / name).mkdir()
        picture(folder / name / "0.png", 9)
    said = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A thing."}]
    mix = [{"id": str(k), "image": "0.png", "conversations": said} for k in range(3)]
    (folder / "mix/llava_v1_5_mix665k.json").write_text(json.dumps(mix))
    asked = {"image": ["0.png", "0.png"], "text": "<image><image> A or B?", "answer": "A", "question_id": 0}
    (folder / "questions/cad_qa.jsonl").write_text(json.dumps(asked) + "\n")
    (folder / "bison.jsonl").write_text(json.dumps(asked) + "\n")
    objects = [{"object_id": 1, "names": ["dog"], "x": 0, "y": 0, "w": 5, "h": 5}]
    graphs = [{"image_id": k, "objects": objects, "relationships": []} for k in range(9)]
    (folder / "graphs/scene_graphs.json").write_text(json.dumps(graphs))
    (folder / "nlvr/dev.jsonl").write_text(json.dumps({"identifier": "a-0", "structured_rep": [[], [], []]}) + "\n")
    data_set(folder / "data", "v1")
    evaluation(folder / "one", 4, ("bison", "cad_qa"))
    evaluation(folder / "two", 6, ("bison", "cad_qa"))
    judged(folder / "two", "judge", [3] * 10)
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


ODD: list[Any] = [
    None,
    -1,
    0,
    1e308,
    10**30,
    "",
    "\0",
    "x" * 5000,
    "../../../etc/passwd",
    [],
    {},
    True,
    "\ud800",
    [[]],
    {"a": 1},
]
CONSTANTS = {
    "empty": b"",
    "NUL": b"\0" * 100,
    "deep": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "deep list": b"[" * 100_000,
    "a number": b"7",
    "null": b"null\n",
    "a string": b'"text"\n',
    "aliases": b"a: &a [x, x, x, x, x, x, x, x, x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (98 + k, 98 + k, b", ".join([b"*%c" % (97 + k)] * 9)) for k in range(9)),
    "itself": b"&a {seed: *a}\n",
    "python": b"seed: !!python/object/apply:os.system ['true']\n",
    "tabs": b"seed:\t\t0\n\tout: a\n",
    "no mapping": b"- a\n- b\n",
    "unclosed": b"seed: {a: [b\n",
    "two documents": b"seed: 0\n---\nseed: 1\n",
    "numbers as keys": b"1: 2\ntrue: 3\n? [a]\n: b\n",
}
Damage = Callable[[Path], None]


def replaced(file: Path, content: bytes) -> None:
    file.write_bytes(content)


def cut(file: Path, share: float) -> None:
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])


def flipped(file: Path, places: list[float], bits: int) -> None:
    content = bytearray(file.read_bytes())
    for place in places if content else ():
        content[int(place * (len(content) - 1))] ^= bits
    file.write_bytes(content)


def recoded(file: Path, encoding: str) -> None:
    file.write_bytes(file.read_bytes().decode("latin-1").encode(encoding))


def no_file(file: Path, kind: str) -> None:
    file.unlink()
    match kind:
        case "pipe":
            os.mkfifo(file)
        case "device":
            file.symlink_to("/dev/zero")
        case "folder":
            file.mkdir()
        case "loop":
            file.symlink_to(file.name)


def odd_value(file: Path, place: int, value: Any) -> None:
    """Replace one of the values of the first row; or all of a file that is not JSON."""
    try:
        whole = file.suffix == ".json"
        text = file.read_text("utf-8")
        content = json.loads(text if whole else text.splitlines()[0])
    except (ValueError, IndexError):
        file.write_bytes(repr(value).encode("utf-8", "replace"))
        return
    places: list[tuple[Any, Any]] = []

    def collect(inner: Any) -> None:
        for key in list(inner) if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ():
            places.append((inner, key))
            collect(inner[key])

    collect(content)
    if places:
        inside, key = places[place % len(places)]
        inside[key] = value
    rest = [] if whole else text.splitlines()[1:]
    file.write_text("\n".join([json.dumps(content), *rest]) + "\n")


share = st.floats(0, 0.99)
damages: st.SearchStrategy[tuple[str, Damage]] = st.one_of(
    st.sampled_from(sorted(CONSTANTS)).map(lambda name: (name, functools.partial(replaced, content=CONSTANTS[name]))),
    st.binary(min_size=1, max_size=200).map(lambda data: (repr(data), functools.partial(replaced, content=data))),
    share.map(lambda part: (f"cut at {part}", functools.partial(cut, share=part))),
    st.tuples(st.lists(share, min_size=1, max_size=20), st.integers(1, 255)).map(
        lambda at: (f"flipped {at}", functools.partial(flipped, places=at[0], bits=at[1]))
    ),
    st.sampled_from(["utf-16", "utf-32", "utf-8-sig", "cp037"]).map(
        lambda name: (name, functools.partial(recoded, encoding=name))
    ),
    st.sampled_from(["gone", "pipe", "device", "folder", "loop"]).map(
        lambda kind: (kind, functools.partial(no_file, kind=kind))
    ),
    st.tuples(st.integers(0, 200), st.sampled_from(ODD)).map(
        lambda odd: (f"odd {odd[0]} {str(odd[1])[:30]!r}", functools.partial(odd_value, place=odd[0], value=odd[1]))
    ),
)


def test_damaged_files_end_every_command_in_one_line(
    faults: Faults, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = faults("damaged files")
    monkeypatch.chdir(tmp_path)
    number = iter(range(10**6))

    @given(st.sampled_from(CASES), st.integers(0, 100), damages)
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
    def damage(case: Case, which: int, how: tuple[str, Damage]) -> None:
        folder = tmp_path / str(next(number))
        shutil.copytree(base, folder)
        files = sorted(file for file in folder.glob(case.damaged) if file.is_file())
        file = files[which % len(files)]
        how[1](file)
        before = len(count.seen)
        count.cadvi(*case.command.format(*[folder] * 4).split())
        count.seen[before:] = [f"{how[0]} in {file.name}: {seen}" for seen in count.seen[before:]]
        shutil.rmtree(folder)

    damage()
    assert count.numbers["refused"] > EXAMPLES // 3


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.command.split(" --")[0].replace(" ", "_"))
def test_the_undamaged_files_are_taken(case: Case, base: Path, tmp_path: Path, faults: Faults) -> None:
    if case.command.startswith("demo"):
        pytest.skip("it would run the demo")
    shutil.copytree(base, tmp_path / "all")
    count = faults("undamaged files")
    said = count.cadvi(*case.command.format(*[tmp_path / "all"] * 4).split())
    assert count.numbers["refused"] == 0, said
