"""The recipes parse, hold the released numbers, and the templates write exactly the text that a model learns."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import message
from cadvi_hub.training.models import TEMPLATES
from cadvi_hub.training.recipe import TuningConfig, TuningModel, parse
from cadvi_hub.training.recipe_checks import check_data, check_settings

ROOM = Path(__file__).parents[2] / "training"
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


GPUS = {  # of each recipe's steps
    "llava-1.5-7b/v1": 4,
    "llava-1.5-7b/v2": 4,
    "llava-1.5-7b/v1-qlora": 1,
    "llava-1.5-13b/v1": 4,
    "llava-1.5-13b/v2": 4,
    "qwen3-vl-8b/v2": 4,
    "smolvlm-2.2b/v2": 1,
}


BEYOND = ("llava-1.5-7b/dpo", "llava-1.5-7b/grpo")  # the paper


def settings(name: str) -> dict[str, Any]:
    recipe: dict[str, Any] = yaml.safe_load((ROOM / "recipes" / f"{name}.yaml").read_text())
    return recipe


def test_help_tells_what_our_own_keys_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "[STREAMING] read the parquet files during the training" in told
    assert "PROJECTOR_LR peak learning rate of the projector" in told


def test_no_recipe_is_left_out_here() -> None:
    assert {str(file.relative_to(ROOM / "recipes"))[:-5] for file in (ROOM / "recipes").glob("*/*.yaml")} == {
        *GPUS,
        *BEYOND,
    }


def test_recipes_beyond_the_paper_start_from_v2_and_keep_its_projector() -> None:
    v2 = settings("llava-1.5-7b/v2")
    for name in BEYOND:
        data, args, model = parse(["--config", str(ROOM / "recipes" / f"{name}.yaml"), "--use_cpu", "true"])
        assert data.method == name.rpartition("/")[2]
        assert model.model_name_or_path == f"{v2['output_dir']}/merged"
        assert (args.chat_template_path, data.max_tokens) == (v2["chat_template_path"], v2["max_tokens"])
        assert args.projector_lr == 0
        check_data(data, args)
        check_settings(args, model)


@pytest.mark.parametrize("name", GPUS)
def test_recipe_holds_the_released_numbers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, args, model = parse(["--config", str(ROOM / "recipes" / f"{name}.yaml"), "--use_cpu", "true"])
    assert isinstance(data.mixture, dict)
    assert list(data.mixture) == ["llava_mix", "v1", "v2"][: 3 if name.endswith("v2") else 2]
    assert all(set(source) == {"path", "config"} for source in data.mixture.values())
    assert (model.lora_r, model.lora_alpha, model.lora_dropout) == (128, 256, 0.05)
    assert (args.learning_rate, args.projector_lr) == (1e-4, 2e-5)
    assert (args.lr_scheduler_type, args.get_warmup_steps(1000), args.weight_decay) == ("cosine", 30, 0)
    assert args.per_device_train_batch_size * args.gradient_accumulation_steps * GPUS[name] == 128
    assert (args.num_train_epochs, args.bf16, model.dtype) == (1, True, "bfloat16")
    assert data.max_tokens == (2048 if name.startswith("llava") else 4096)
    monkeypatch.setattr("cadvi_hub.training.recipe_checks.find_spec", lambda name: True)  # bitsandbytes, for QLoRA
    check_settings(args, model)


@pytest.mark.parametrize("name", [*GPUS, *BEYOND])
def test_every_setting_of_a_recipe_names_its_source(name: str) -> None:
    text = (ROOM / "recipes" / f"{name}.yaml").read_text()
    lines = text[text.index("# model") : text.index("# output")].splitlines()
    chosen = [line for line in lines if ": " in line and not line.startswith("#")]
    assert len(chosen) > 15
    assert [line for line in chosen if not re.search(r"# \[(paper|release|qlora|mia|trl|ours)\]", line)] == []


@pytest.mark.parametrize(
    ("name", "like", "differing"),
    [
        ("llava-1.5-13b/v1", "llava-1.5-7b/v1", set()),
        ("llava-1.5-13b/v2", "llava-1.5-7b/v2", set()),
        ("qwen3-vl-8b/v2", "llava-1.5-7b/v2", {"chat_template_path", "max_tokens", "train_sampling_strategy"}),
        ("smolvlm-2.2b/v2", "llava-1.5-7b/v2", {"chat_template_path", "max_tokens", "train_sampling_strategy"}),
    ],
)
def test_recipe_of_another_model_is_the_same_but_for_what_the_model_asks(
    name: str, like: str, differing: set[str]
) -> None:
    here, there = settings(name), settings(like)
    batch = {"per_device_train_batch_size", "gradient_accumulation_steps"} if differing else set()
    changed = {key for key in here | there if here.get(key) != there.get(key)}
    assert changed == {"model_name_or_path", "output_dir"} | differing | batch


def test_qlora_recipe_quantizes_in_nf4_and_changes_nothing_else_but_the_batch() -> None:
    here, there = settings("llava-1.5-7b/v1-qlora"), settings("llava-1.5-7b/v1")
    assert (here["load_in_4bit"], here["bnb_4bit_quant_type"], here["use_bnb_nested_quant"]) == (True, "nf4", True)
    changed = {key for key in here if here[key] != there.get(key)} - {key for key in here if "4bit" in key}
    batch = {"per_device_train_batch_size", "gradient_accumulation_steps"}
    assert changed == batch | {"use_bnb_nested_quant", "output_dir"}


def test_command_line_wins_over_the_recipe() -> None:
    _, args, _ = parse(["--config", str(RECIPES / "v1.yaml"), "--use_cpu", "true", "--learning_rate", "5e-5"])
    assert args.learning_rate == 5e-5


def test_mixture_is_json_on_the_command_line() -> None:
    mixture = ["--mixture", '{"v1": {"path": "data", "repeats": 2}}']
    data, _, _ = parse(["--config", str(RECIPES / "v1.yaml"), "--use_cpu", "true", *mixture])
    assert data.mixture == {"v1": {"path": "data", "repeats": 2}}


@pytest.mark.parametrize(
    ("content", "extra", "problem"),
    [
        ("learning_rat: 1.0", [], "learning_rat"),
        ("lora_r: 8", ["--lora_rank", "8"], "--lora_rank"),
        ("lora_r: [", [], r"recipe\.yaml: it is not a recipe"),
        ("- lora_r", [], "mapping"),
        ("mixture: [v1]", [], "mixture"),
        ("lora_r: 8", ["--mixture", "{"], "property name"),
        ("lora_r: many", [], "many"),
    ],
)
def test_unknown_key_or_broken_recipe_is_refused(tmp_path: Path, content: str, extra: list[str], problem: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(content)
    with pytest.raises(InputError, match=problem):
        parse(["--config", str(recipe), "--use_cpu", "true", "--bf16", "false", *extra])


def test_missing_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml"):
        parse(["--config", str(tmp_path / "none.yaml")])


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"max_length": 512}, "max_tokens"),
        ({"assistant_only_loss": False}, "assistant_only_loss"),
        ({"hub_token": "hf_secret"}, "HF_TOKEN"),
        ({"packing": True}, "TRL cannot do that with images"),
        ({"padding_free": True}, "TRL cannot do that with images"),
        ({"max_steps": 0}, "it is 0"),
        ({"learning_rate": float("nan")}, "learning_rate: it is nan"),
        ({"train_sampling_strategy": "longest"}, "Choose one of random, sequential, group_by_length, llava"),
        ({"use_liger_kernel": True}, "pip install liger-kernel"),
        ({"report_to": "no_such_place"}, "no_such_place is not supported"),
        ({"report_to": "wandb"}, "requires wandb to be installed"),
    ],
)
def test_setting_that_the_method_cannot_follow_is_refused(
    tmp_path: Path, changed: dict[str, Any], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.integrations.integration_utils.is_wandb_available", lambda: False)
    monkeypatch.setattr("cadvi_hub.training.recipe_checks.find_spec", lambda name: None)
    args = TuningConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, **changed)
    with pytest.raises(InputError, match=problem) as caught:
        check_settings(args, TuningModel(model_name_or_path="base"))
    assert "hf_secret" not in str(caught.value)


def test_base_model_must_be_named(tmp_path: Path) -> None:
    args = TuningConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False)
    with pytest.raises(InputError, match="model_name_or_path"):
        check_settings(args, TuningModel())


def render(name: str, conversation: list[dict[str, Any]], prompt: bool = False) -> tuple[str, list[str]]:
    from transformers.utils.chat_template_utils import render_jinja_template

    template = (TEMPLATES / name).read_text()
    rendered: Any = render_jinja_template(
        [conversation],
        chat_template=template,
        return_assistant_tokens_mask=not prompt,
        add_generation_prompt=prompt,
    )
    texts, spans = rendered
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
