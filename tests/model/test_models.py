"""Models: folders load with the logits plain transformers gives, in old layouts too; everything unusable is one clear error."""

import dataclasses
import json
import pickle
import shutil

import pytest
import tiny_folders
import torch
from safetensors.torch import load_file, save_file
from tiny_models import CONFIGURATIONS, tiny_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, BertModel

from kn_utils.data.downloads import cache_dir, smollm2_gguf
from kn_utils.data.facts import Dataset, Fact
from kn_utils.model.architectures import auto_class
from kn_utils.model.attribution import integrated_gradients
from kn_utils.model.layouts import FORMULA, value_vectors
from kn_utils.model.models import load_model
from kn_utils.model.prompts import Batch, encode
from kn_utils.paths import result_name

WEIGHTS = "model.safetensors"


@pytest.fixture
def bert(folder_of, tmp_path):
    """A copy of the tiny BERT's folder, to be spoilt."""
    return shutil.copytree(folder_of("bert"), tmp_path / "mine")


def rewrite(path, change):
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def logits(model):
    return model(torch.tensor([[2, 5, 6, 7, 4, 8, 3]])).logits


@pytest.mark.parametrize("model_type", ["bert", "roberta", "gpt2", "llama"])
def test_a_folder_gives_plain_transformers_logits(model_type, folder_of, loaded):
    folder, lm = folder_of(model_type), loaded(model_type)
    plain = (AutoModelForMaskedLM if lm.masked else AutoModelForCausalLM).from_pretrained(folder).eval()
    assert lm.name == result_name(folder_of(model_type)) and lm.name.startswith(f"tiny-{model_type}-")
    assert torch.equal(logits(lm.model), logits(plain))
    assert len(lm.tokenizer) == len(AutoTokenizer.from_pretrained(folder)) == lm.model.config.vocab_size
    assert lm.tokenizer("Oslo is")["input_ids"] == AutoTokenizer.from_pretrained(folder)("Oslo is")["input_ids"]
    assert (lm.masked, lm.n_layers, lm.n_neurons) == (model_type in ("bert", "roberta"), 3, 128 if model_type == "gpt2" else 48)
    assert not lm.model.training and not any(weight.requires_grad for weight in lm.model.parameters())
    assert {weight.dtype for weight in lm.model.parameters()} == {torch.float32}


def test_half_precision_weights_are_read_as_float32(bert):
    save_file({name: weight.half() for name, weight in load_file(bert / WEIGHTS).items()}, bert / WEIGHTS, {"format": "pt"})
    rewrite(bert / "config.json", lambda config: config.update(dtype="float16"))
    assert {weight.dtype for weight in load_model(bert, "cpu").model.parameters()} == {torch.float32}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_half_precision_weights_give_float32_scores_near_those_of_float32_weights(model_type, dtype, folder_of, loaded):
    exact, lm = loaded(model_type), load_model(folder_of(model_type), "cpu", dtype)
    assert (lm.dtype, lm.identity()["dtype"], lm.way) == (dtype, dtype, exact.way)
    assert {weight.dtype for weight in lm.model.parameters()} == {getattr(torch, dtype)}
    batch = Batch(torch.tensor([[2, 5, 6, 7, 4, 8]]), torch.tensor([5]), torch.tensor([9]))
    found, expected = (integrated_gradients(model, batch) for model in (lm, exact))
    for name in ("score", "activation", "probability"):
        one, other = (getattr(result, name) for result in (found, expected))
        assert one.dtype == other.dtype
        assert 0 < (one - other).abs().max() < 0.15 * other.abs().max()
    again = pickle.loads(pickle.dumps(lm))
    assert again.dtype == dtype and again.digest == lm.digest != exact.digest


def test_the_old_layout_of_bert_base_cased(bert, loaded):
    weights = load_file(bert / WEIGHTS)
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): weight
        for name, weight in weights.items()
        if not name.startswith("cls.predictions.decoder")
    }
    old |= {"bert.pooler.dense.weight": torch.ones(32, 32), "bert.pooler.dense.bias": torch.ones(32)}
    old |= {"cls.seq_relationship.weight": torch.ones(2, 32), "cls.seq_relationship.bias": torch.ones(2)}
    assert sum(name.endswith(("gamma", "beta")) for name in old) == 2 * (2 * 3 + 2)
    save_file(old, bert / WEIGHTS, {"format": "pt"})
    rewrite(bert / "config.json", lambda config: config.update(architectures=["BertForPreTraining"]))
    lm, modern = load_model(bert, "cpu"), loaded("bert")
    assert torch.equal(logits(lm.model), logits(AutoModelForMaskedLM.from_pretrained(bert).eval()))
    assert torch.equal(logits(lm.model), logits(modern.model))
    assert lm.digest == modern.digest


def test_the_digest_tells_weights_apart(bert, loaded):
    lm = load_model(bert, "cpu")
    assert lm.digest == loaded("bert").digest
    changed = load_model(bert, "cpu")
    with torch.no_grad():
        changed.downs[1].weight[3, 5] += 1e-6
    assert changed.digest != lm.digest
    assert load_model(bert, "cpu").digest == lm.digest


@pytest.mark.parametrize("model_type", CONFIGURATIONS)
def test_value_vectors_have_one_row_per_neuron(model_type):
    lm = tiny_model(model_type)
    for down in lm.downs:
        rows = value_vectors(down)
        assert len(rows) == lm.n_neurons != rows.shape[1]
        one = torch.zeros(lm.n_neurons, dtype=rows.dtype)
        one[5] = 1
        torch.testing.assert_close(down(one) - down(0 * one), rows[5])
        assert rows.data_ptr() == down.weight.data_ptr()  # a view: editing it edits the model


def error(name, kind, device="cpu"):
    with pytest.raises(kind) as caught:
        load_model(name, device)
    return str(caught.value)


ALLOWED = "A model is one of starter, smollm2-135m, a local folder in the hub's layout with safetensors weights, or a "


def test_an_encoder_without_its_language_modelling_head(bert):
    BertModel.from_pretrained(bert).save_pretrained(bert)
    message = error(bert, ValueError)
    assert message.startswith(f"'{bert}' is not a complete masked language model: its files lack the weights ")
    assert message.endswith(
        "cls.predictions.bias, cls.predictions.decoder.bias, cls.predictions.transform.LayerNorm.bias and 3 more"
    )


def test_a_decoder_without_some_of_its_weights(folder_of, tmp_path):
    folder = shutil.copytree(folder_of("llama"), tmp_path / "mine")
    weights = load_file(folder / WEIGHTS)
    lost = "model.layers.1.mlp.down_proj.weight"
    del weights[lost]
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    assert error(folder, ValueError) == (
        f"'{folder}' is not a complete left-to-right language model: its files lack the weights {lost}"
    )


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.99])
def test_a_truncated_weights_file(share, bert):
    content = (bert / WEIGHTS).read_bytes()
    (bert / WEIGHTS).write_bytes(content[: int(share * len(content))])
    message = error(bert, OSError)
    assert message.startswith(f"cannot load the model '{bert}'") and ALLOWED in message


def test_a_damaged_configuration(bert):
    (bert / "config.json").write_text("{", encoding="utf-8")
    assert error(bert, OSError).startswith(f"cannot load the model '{bert}'")


UNUSED = "the model that config.json describes does not use the weights"


def test_weights_that_the_model_does_not_use(bert):
    """As in a BERT with relative positions, which transformers 5 would load as another model."""
    weights = load_file(bert / WEIGHTS)
    relative = "bert.encoder.layer.0.attention.self.distance_embedding.weight"
    save_file(weights | {relative: torch.ones(127, 8)}, bert / WEIGHTS, {"format": "pt"})
    rewrite(bert / "config.json", lambda config: config.update(position_embedding_type="relative_key_query"))
    assert error(bert, ValueError) == (
        f"'{bert}': {UNUSED} {relative} of its files, so it would not be the model that was trained"
    )


def test_more_weights_than_the_configuration_has_layers(bert):
    rewrite(bert / "config.json", lambda config: config.update(num_hidden_layers=2))
    message = error(bert, ValueError)
    assert f"{UNUSED} bert.encoder.layer.2.attention.output.LayerNorm.bias, " in message and "and 13 more of its files" in message


@pytest.mark.parametrize(
    "model_type, flags",
    [
        ("bert", {"return_dict": False}),
        ("bert", {"output_attentions": True, "output_hidden_states": True}),
        ("bert", {"chunk_size_feed_forward": 1}),
        ("llama", {"return_dict": False, "use_cache": False, "output_hidden_states": True}),
    ],
)
def test_flags_of_the_configuration_do_not_matter(model_type, flags, folder_of, loaded, tmp_path):
    folder, plain = shutil.copytree(folder_of(model_type), tmp_path / "mine"), loaded(model_type)
    rewrite(folder / "config.json", lambda config: config.update(flags))
    lm = load_model(folder, "cpu")
    assert lm.identity() == plain.identity() and (lm.layout, lm.way) == (plain.layout, plain.way)
    assert torch.equal(logits(lm.model), logits(plain.model))


@pytest.mark.parametrize("model_type", ["gemma3", "llava"])
def test_the_text_model_of_a_multimodal_configuration(model_type, folder_of, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(folder_of("llama"))
    sizes = tiny_folders.SMALL | {"num_key_value_heads": 2, "vocab_size": len(tokenizer), "head_dim": 8}
    parts = {"text_config": sizes | {"model_type": {"gemma3": "gemma3_text", "llava": "llama"}[model_type]}}
    parts["vision_config"] = {"model_type": "siglip_vision_model", **tiny_folders.SMALL, "num_hidden_layers": 1, "image_size": 28}
    config = AutoConfig.for_model(model_type, **parts)
    auto_class(config).from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    lm = load_model(tmp_path, "cpu")
    assert (lm.masked, lm.n_layers, lm.n_neurons, lm.way) == (False, 3, 48, FORMULA)
    assert lm.layout.down == "mlp.down_proj" and "language_model" in lm.layout.blocks[0]


def test_no_code_of_a_folder_is_run(bert, tmp_path):
    ran = tmp_path / "ran"
    for name in ("configuration", "modeling", "tokenization"):
        (bert / f"{name}_mine.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass Mine:\n    pass\n", encoding="utf-8")
    classes = {"AutoConfig": "configuration_mine.Mine", "AutoModelForMaskedLM": "modeling_mine.Mine"}
    rewrite(bert / "config.json", lambda config: config.update(auto_map=classes))
    own = {"AutoTokenizer": ["tokenization_mine.Mine", "tokenization_mine.Mine"]}
    rewrite(bert / "tokenizer_config.json", lambda config: config.update(auto_map=own))
    assert type(load_model(bert, "cpu").model).__name__ == "BertForMaskedLM"
    rewrite(bert / "config.json", lambda config: config.update(model_type="mine"))
    assert ALLOWED in error(bert, OSError)
    assert not ran.exists()


def test_weights_that_are_neither_linear_nor_conv1d(loaded):
    lm = loaded("bert")
    broken = tiny_model("bert").model
    broken.bert.encoder.layer[0].output.dense = torch.nn.Bilinear(2, 2, 2)
    with pytest.raises(ValueError, match="^tiny-bert-[0-9a-f]{8}: it cannot be run"):
        dataclasses.replace(lm, model=broken)


@pytest.mark.endurance
def test_smollm2_knows_the_capital_of_france():
    if not (cache_dir() / "smollm2-135m").is_dir():
        try:
            smollm2_gguf()
        except FileNotFoundError as reason:
            pytest.skip(f"the weights of smollm2-135m cannot be had: {reason}")
    lm = load_model("smollm2-135m", "cpu")
    fact = Fact("P36", 0, "France", "Paris")
    dataset = Dataset("one", {"P36": [fact]}, {"P36": ["The capital of [X] is [Y]."]}, {}, None)
    prompt = encode(lm, dataset, [fact])[0]
    answer = lm.model(torch.tensor([prompt.ids])).logits[0, prompt.position].argmax()
    assert lm.tokenizer.decode([answer]) == " Paris"
    assert answer == prompt.target
    assert (lm.masked, lm.n_layers, lm.n_neurons) == (False, 30, 1536)
