"""The recipes parse, hold the released numbers, and the templates write exactly the text that a model learns."""

from pathlib import Path

import pytest

import cadvi_hub.training as training
from cadvi_hub.errors import InputError
from cadvi_hub.schema import message
from cadvi_hub.training.settings import TuningConfig, TuningModel, check_settings, parse

ROOM = Path(training.__file__).parent
RECIPES = ROOM / "recipes" / "llava-1.5-7b"
CONVERSATION = [
    message("user", "<image>\nand <image>\nWhat differs?"),
    message("assistant", "The <colour> & shape."),
    message("user", "Which is red?"),
    message("assistant", "Image 1"),
]
SYSTEM_SENTENCE = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


@pytest.mark.parametrize(("name", "sources"), [("v1", ["llava_mix", "v1"]), ("v2", ["llava_mix", "v1", "v2"])])
def test_recipe_holds_the_released_numbers(name: str, sources: list[str]) -> None:
    data, args, model = parse(["--config", str(RECIPES / f"{name}.yaml"), "--use_cpu", "true"])
    assert list(data.mixture) == sources
    assert (model.lora_r, model.lora_alpha, model.lora_dropout) == (128, 256, 0.05)
    assert (args.learning_rate, args.projector_lr) == (1e-4, 2e-5)
    assert (args.lr_scheduler_type, args.get_warmup_steps(1000), args.weight_decay) == ("cosine", 30, 0)
    assert (args.per_device_train_batch_size, args.num_train_epochs, data.max_tokens) == (32, 1, 2048)
    check_settings(args, model)


def test_command_line_wins_over_the_recipe() -> None:
    _, args, _ = parse(["--config", str(RECIPES / "v1.yaml"), "--use_cpu", "true", "--learning_rate", "5e-5"])
    assert args.learning_rate == 5e-5


def test_mixture_is_json_on_the_command_line() -> None:
    mixture = ["--mixture", '{"v1": {"path": "data", "repeats": 2}}']
    data, _, _ = parse(["--config", str(RECIPES / "v1.yaml"), "--use_cpu", "true", *mixture])
    assert data.mixture == {"v1": {"path": "data", "repeats": 2}}


@pytest.mark.parametrize(
    ("content", "extra", "fault"),
    [
        ("learning_rat: 1.0", [], "learning_rat"),
        ("lora_r: 8", ["--lora_rank", "8"], "--lora_rank"),
        ("lora_r: [", [], "settings"),
        ("- lora_r", [], "mapping"),
        ("mixture: [v1]", [], "mixture"),
        ("lora_r: 8", ["--mixture", "{"], "property name"),
        ("lora_r: many", [], "many"),
    ],
)
def test_unknown_key_or_broken_recipe_is_refused(tmp_path: Path, content: str, extra: list[str], fault: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(content)
    with pytest.raises(InputError, match=fault):
        parse(["--config", str(recipe), "--use_cpu", "true", "--bf16", "false", *extra])


def test_missing_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml"):
        parse(["--config", str(tmp_path / "none.yaml")])


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"max_length": 512}, "max_tokens"),
        ({"assistant_only_loss": False}, "assistant_only_loss"),
        ({"hub_token": "hf_secret"}, "HF_TOKEN"),
    ],
)
def test_setting_that_the_method_cannot_follow_is_refused(tmp_path: Path, changed: dict, fault: str) -> None:
    args = TuningConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, **changed)
    with pytest.raises(InputError, match=fault) as caught:
        check_settings(args, TuningModel(model_name_or_path="base"))
    assert "hf_secret" not in str(caught.value)


def test_base_model_must_be_named(tmp_path: Path) -> None:
    args = TuningConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False)
    with pytest.raises(InputError, match="model_name_or_path"):
        check_settings(args, TuningModel())


def render(name: str, conversation: list[dict], prompt: bool = False) -> tuple[str, list[str]]:
    from transformers.utils.chat_template_utils import render_jinja_template

    template = (ROOM / "chat_templates" / name).read_text()
    texts, spans = render_jinja_template(
        [conversation],
        chat_template=template,
        return_assistant_tokens_mask=not prompt,
        add_generation_prompt=prompt,
    )
    return texts[0], [] if prompt else [texts[0][start:end] for start, end in spans[0]]


def test_cadvi_template_writes_and_marks_exactly_this() -> None:
    text, trained = render("cadvi.jinja", CONVERSATION)
    assert text == (
        "<s><|user|><image>\nand <image>\nWhat differs?<|assistant|>The <colour> & shape.<|end|>"
        "<|user|>Which is red?<|assistant|>Image 1<|end|>"
    )
    assert trained == ["The <colour> & shape.<|end|>", "Image 1<|end|>"]
    prompt, _ = render("cadvi.jinja", CONVERSATION[:1], prompt=True)
    assert prompt == "<s><|user|><image>\nand <image>\nWhat differs?<|assistant|>"
    assert text.startswith(prompt)


def test_llava_template_writes_vicuna_turns_and_marks_the_answers() -> None:
    text, trained = render("llava.jinja", CONVERSATION)
    assert text == (
        f"<s> {SYSTEM_SENTENCE} USER: <image> \nand <image> \nWhat differs? ASSISTANT: The <colour> & shape.</s>"
        "USER: Which is red? ASSISTANT: Image 1</s>"
    )
    assert trained == [" The <colour> & shape.</s>", " Image 1</s>"]
    prompt, _ = render("llava.jinja", CONVERSATION[:1], prompt=True)
    assert text.startswith(prompt)
    assert prompt.endswith("ASSISTANT:")


@pytest.mark.parametrize(
    ("name", "start"), [("cadvi.jinja", "<s>Be brief.<|user|>"), ("llava.jinja", "<s> Be brief. USER:")]
)
def test_system_message_is_plain_text_before_the_first_turn(name: str, start: str) -> None:
    text, _ = render(name, [{"role": "system", "content": "Be brief."}, *CONVERSATION])
    assert text.startswith(start)


@pytest.mark.parametrize("name", ["cadvi.jinja", "llava.jinja"])
def test_template_reads_plain_strings_and_refuses_other_roles(name: str) -> None:
    from jinja2 import TemplateError

    assert render(name, [{"role": "user", "content": "Why?"}])[0] == render(name, [message("user", "Why?")])[0]
    with pytest.raises(TemplateError, match="tool"):
        render(name, [message("user", "Why?"), message("tool", "Because")])
