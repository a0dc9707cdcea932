"""Models from strangers: no code of theirs runs, nothing asks for it, and a damaged one is refused in one line."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.core.models import loading
from cadvi_hub.generation.chat import ChatRequest, Decoding
from cadvi_hub.generation.local import LocalGenerator
from cadvi_hub.pairing.similarity import ImageSimilarity
from cadvi_hub.training.adapters import load_adapted, load_processor
from cadvi_hub.training.checkpoints import load_whole
from cadvi_hub.training.models import load_base
from cadvi_hub.training.recipe import TuningModel
from tests.faults.record import Faults
from tests.support.tiny_llava import make_tiny_llava

CODE = "import pathlib; pathlib.Path({mark!r}).touch()\nclass Evil: pass\n"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llava(tmp_path_factory.mktemp("tiny"))


def answer(folder: Path) -> None:
    """As `cadvi evaluate` and a local annotator use a model."""
    messages = [{"role": "user", "content": [{"type": "text", "text": "Hello."}]}]
    for _ in LocalGenerator(str(folder)).generate([ChatRequest(messages, (), Decoding(max_tokens=1))]):
        pass


def train(folder: Path) -> None:
    load_base(TuningModel(model_name_or_path=str(folder)))


LOADS: list[Callable[[Path], Any]] = [
    answer,
    train,
    lambda folder: load_whole(str(folder)),
    lambda folder: load_processor(folder),
    lambda folder: ImageSimilarity(str(folder))._load(),
    load_adapted,
]


@pytest.fixture
def hostile(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A model that works only with its own code; whoever asks whether to run it gets "y"."""
    folder, mark = tmp_path / "hostile", tmp_path / "it-ran"
    shutil.copytree(tiny, folder)
    (folder / "evil.py").write_text(CODE.format(mark=str(mark)))
    classes = ("AutoConfig", "AutoModel", "AutoModelForImageTextToText", "AutoModelForCausalLM")
    both = {"AutoProcessor": "evil.Evil", "AutoImageProcessor": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]}
    for name, change in {
        "config.json": {"auto_map": dict.fromkeys(classes, "evil.Evil"), "model_type": "evil"},
        "processor_config.json": {"auto_map": both, "processor_class": "Evil"},
        "tokenizer_config.json": {"auto_map": both, "tokenizer_class": "Evil"},
    }.items():
        content = json.loads((folder / name).read_text()) if (folder / name).is_file() else {}
        (folder / name).write_text(json.dumps(content | change))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    yield folder
    assert not mark.exists()


def test_a_models_own_code_never_runs_even_if_yes_is_piped_in(faults: Faults, hostile: Path) -> None:
    count = faults("code in a model's folder")
    for load in LOADS:
        error = count.call(load, hostile)
        assert error is not None
    said = str(count.call(load_whole, str(hostile)))
    assert "config.json, auto_map: evil.Evil" in said
    assert "never run" in said
    assert count.numbers["refused"] == count.numbers["tried"]


def truncate(data: bytes) -> bytes:
    return data[: len(data) // 2]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "half": truncate,
    "noise": lambda data: bytes(range(256)) * 4,
    "a list": lambda data: b"[1, 2]",
    "deep": lambda data: b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "utf-16": lambda data: data.decode("latin-1").encode("utf-16"),
    "wrong types": lambda data: data.replace(b'": ', b'": [').replace(b",\n", b"],\n"),
}


def test_a_damaged_file_of_a_model_is_refused_in_one_line(faults: Faults, tiny: Path, tmp_path: Path) -> None:
    count = faults("damaged models")
    files = sorted(file.name for file in tiny.iterdir())
    assert len(files) > 4
    for number, (file, damage) in enumerate((file, damage) for file in files for damage in DAMAGES):
        folder = tmp_path / str(number)
        shutil.copytree(tiny, folder)
        (folder / file).write_bytes(DAMAGES[damage]((tiny / file).read_bytes()))
        for load in (answer, train):
            count.call(load, folder)
        shutil.rmtree(folder)
    assert count.numbers["refused"] > count.numbers["tried"] / 2  # some of the files matter to no load


TEMPLATES = [
    "{{ messages[0].role.nothing.at.all }}",
    "{% if %}",
    "{{ 1 / 0 }}",
    "{{ raise_exception('no') }}",
    "{% for a in range(10) %}",
    "{{ ''.__class__.__mro__ }}",
    "{{ messages | unknown_filter }}",
    "{{ '%d' % 'a' }}",
]


def test_a_broken_chat_template_is_refused_in_one_line(faults: Faults, tiny: Path, tmp_path: Path) -> None:
    count = faults("broken chat templates")
    for number, template in enumerate(TEMPLATES):
        folder = tmp_path / str(number)
        shutil.copytree(tiny, folder)
        (folder / "chat_template.jinja").write_text(template)
        error = count.call(answer, folder)
        assert "chat template" in str(error), f"{template}: {error}"
    assert count.numbers["refused"] == len(TEMPLATES)


def test_an_error_without_words_still_says_its_class(faults: Faults) -> None:
    def load() -> None:
        with loading("model m", "it does not load", "Fix it", "m"):
            raise KeyError("weight")

    assert "KeyError 'weight'" in str(faults("damaged models").call(load))
