"""Files that are cut, mixed up, of another type or endless: every command ends soon, in one line, without a traceback.

hypothesis chooses the command, the file and the damage; the same examples are tried in every run.
"""

import contextlib
import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadvi_hub.builder.build import build, mine
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.core.schema import Aspect, CadSummary, Difference
from cadvi_hub.core.summaries import render_summary
from cadvi_hub.generation.chat import Reply
from cadvi_hub.generation.replies import ReplyStore
from cadvi_hub.pairing.settings import PairSettings
from tests.faults.record import Count, Faults
from tests.support.builds import captioned_source, picture, similar_source
from tests.support.judges import fair, reference, write_predictions, write_set
from tests.support.openai_server import Answer, openai_server, said
from tests.support.report_parts import data_set, evaluation, judged

EXAMPLES = 260
SUMMARY = CadSummary(
    "Both images show plain coloured pictures without any people.",
    (Difference(Aspect.ATTRIBUTES, "Image 1 is green, while image 2 is blue and much darker."),),
)


class Case(NamedTuple):
    """A command in the folder of files, and which of them may be damaged; `URL` is an endpoint."""

    command: str
    damaged: str


SERVED = "--annotator.kind server --annotator.model m --annotator.prompt summary_from_images --annotator.base_url URL"
CASES = [
    Case("build v1 --source.path captioned --source.name c --out new --pairs.min_shared 1", "captioned/*"),
    Case(f"build v2 --source.path similar --source.name s --out new {SERVED}", "similar/**/*"),
    Case("build instruct --source.path mix --source.name m --out new", "mix/*"),
    Case("build cad_qa --source.path questions --source.name q --out new", "questions/*"),
    Case(
        "build v1 --source.path captioned --source.name c --out started --pairs.min_shared 1", "started/v1/_work/**/*"
    ),
    Case("build v1 --source.path captioned --source.name c --out data --pairs.min_shared 1", "data/v1/*"),
    Case("pairs mine v1 --source.path captioned --source.name c --out new --pairs.min_shared 1", "captioned/*"),
    Case("pairs explain --folder data/v1", "data/v1/*"),
    Case("ground --folder data/v1 --graphs graphs", "graphs/*"),
    Case("ground --folder data/v1 --graphs graphs", "data/v1/*"),
    Case("benchmarks build bison --questions bison.jsonl --images captioned --out new", "bison.jsonl"),
    Case("benchmarks build cad_summary --questions data/v1 --out new", "data/v1/*"),
    Case("evaluate --model constant --data sets --out new", "sets/**/*"),
    Case("judge run --results asked --data sets --judge.base_url URL", "asked/predictions/*"),
    Case("judge check --data sets --out new --judge.base_url URL", "sets/**/*"),
    Case("compare --first one --second two --resamples 5", "one/**/*"),
    Case("report one two --data pairs --out new", "two/**/*"),
    Case("report one two --data pairs --out new", "pairs/v1/*"),
    Case("view one --data pairs --export new --rows 2", "one/**/*"),
    Case("view one --data pairs --export new --rows 2", "pairs/v1/*"),
    Case("nlvr --path nlvr --out new", "nlvr/*"),
    Case("replies recover --store replies.sqlite --out new.sqlite", "replies.sqlite"),
    Case("publish --folder data --repo_id tester/data --kind dataset", "data/v1/*"),
    Case("build v1 --config recipe.yaml", "recipe.yaml"),
    Case("compare --config compare.yaml", "compare.yaml"),
]
RECIPE = "seed: 0\nout: new\npairs: {min_shared: 1}\nsource: {path: captioned, name: c}\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small file of every kind that a command reads."""
    folder = tmp_path_factory.mktemp("base")
    captioned = captioned_source(folder / "captioned")
    similar_source(folder / "similar")
    for name in ("mix", "questions", "graphs", "nlvr"):
        (folder / name).mkdir()
        picture(folder / name / "0.png", 9)
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A thing."}]
    mix = [{"id": str(k), "image": "0.png", "conversations": turns} for k in range(3)]
    (folder / "mix/llava_v1_5_mix665k.json").write_text(json.dumps(mix))
    asked = {"image": ["0.png", "0.png"], "text": "<image><image> A or B?", "answer": "A", "question_id": 0}
    (folder / "questions/cad_qa.jsonl").write_text(json.dumps(asked) + "\n")
    (folder / "bison.jsonl").write_text(json.dumps(asked) + "\n")
    objects = [{"object_id": 1, "names": ["dog"], "x": 0, "y": 0, "w": 5, "h": 5}]
    graphs = [{"image_id": k, "objects": objects, "relationships": []} for k in range(9)]
    (folder / "graphs/scene_graphs.json").write_text(json.dumps(graphs))
    box = [{"x_loc": 1, "y_loc": 2, "size": 20, "type": "circle", "color": "Yellow"}]
    (folder / "nlvr/dev.jsonl").write_text(json.dumps({"image": "0.png", "structured_rep": [box, [], box]}) + "\n")
    data_set(folder / "pairs", "v1")
    write_predictions(folder / "asked", write_set(folder / "sets", 3), [reference(0)] * 3)
    evaluation(folder / "one", 4, ("bison", "cad_qa"))
    evaluation(folder / "two", 6, ("bison", "cad_qa"))
    judged(folder / "two", "judge", [3] * 10)
    store = ReplyStore(folder / "replies.sqlite")
    store.put({f"{k:064}": Reply("Both show a dog.", "stop", 1, 2) for k in range(20)})
    store.close()
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "compare.yaml").write_text("first: one\nsecond: two\nresamples: 5\ntasks: [bison]\n")
    with contextlib.chdir(folder):  # as the commands name it: the recipe of a build has its source's path
        recipe = BuildSettings(
            "v1", replace(captioned, path=Path("captioned"), name="c"), Path("data"), PairSettings(min_shared=1)
        )
        build(recipe)
        mine(replace(recipe, out=Path("started")))
    return folder


def reply(request: dict[str, Any], number: int) -> Answer:
    return fair(request, number) if "<reference>" in said(request) else Answer(render_summary(SUMMARY))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """An endpoint that writes the same summary for all, and rates answers."""
    with openai_server(reply) as server:
        yield server.base_url


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


@pytest.mark.slow
def test_damaged_files_end_every_command_in_one_line(faults: Faults, base: Path, url: str, tmp_path: Path) -> None:
    count = faults("damaged files")
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
        with contextlib.chdir(folder):
            count.cadvi(*case.command.replace("URL", url).split())
        count.seen[before:] = [f"{how[0]} in {file.name}: {seen}" for seen in count.seen[before:]]
        shutil.rmtree(folder)

    damage()
    assert count.numbers["tried"] >= EXAMPLES
    assert count.numbers["refused"] > EXAMPLES // 3


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.command.split(" --")[0].replace(" ", "_"))
def test_the_undamaged_files_are_taken(
    case: Case, base: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(base, tmp_path / "all")
    monkeypatch.chdir(tmp_path / "all")
    count = Count("undamaged files")
    printed = count.cadvi(*case.command.replace("URL", url).split())
    assert (count.numbers["refused"], count.seen) == (0, []), printed
