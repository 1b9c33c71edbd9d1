"""Prompts: what models of each kind are asked, where and for which token, and why some prompts are left out."""

import dataclasses

import pytest
import torch

from kn_utils.data.facts import Fact
from kn_utils.model.prompts import (
    AMBIGUOUS_MASK,
    MERGED,
    NO_TOKEN,
    NOT_OBJECT_FINAL,
    NOT_ONE_TOKEN,
    SAME_PROMPT,
    TOO_LONG,
    LeftOut,
    Prompt,
    draw_facts,
    encode,
    ends_with_object,
    fill,
    group_by_length,
    stack,
    usable_prompts,
)

DECODERS = ["gpt2", "llama"]


def ask(lm, dataset, subject, answer, relation="P36"):
    return encode(lm, dataset, [Fact(relation, 0, subject, answer)])


def tokens(lm, prompt):
    return lm.tokenizer.convert_ids_to_tokens(prompt.ids)


def token(lm, prompt):
    return lm.tokenizer.convert_ids_to_tokens(prompt.target)


def reasons(items):
    return [item.reason if isinstance(item, LeftOut) else None for item in items]


def test_an_encoder_reads_a_mask_in_the_objects_place(loaded, tiny_dataset):
    lm = loaded("bert")
    fact = tiny_dataset.facts["P36"][2]
    prompts = encode(lm, tiny_dataset, [fact])
    assert [prompt.index for prompt in prompts] == [0, 1, 2]
    assert prompts[0].text == "The capital of New Zealand is [MASK]."
    assert tokens(lm, prompts[0]) == ["[CLS]", "The", "capital", "of", "New", "Zealand", "is", "[MASK]", ".", "[SEP]"]
    assert [prompt.position for prompt in prompts] == [7, 6, 1]
    assert all(prompt.ids[prompt.position] == lm.tokenizer.mask_token_id for prompt in prompts)
    assert {token(lm, prompt) for prompt in prompts} == {"Wellington"}
    assert {prompt.fact for prompt in prompts} == {fact}


@pytest.mark.parametrize("model_type", DECODERS)
def test_a_decoder_reads_up_to_the_object_and_keeps_the_templates_index(model_type, loaded, tiny_dataset):
    lm = loaded(model_type)
    prompts = encode(lm, tiny_dataset, [tiny_dataset.facts["P36"][2], tiny_dataset.facts["P101"][0]])
    assert [(prompt.text, prompt.index) for prompt in prompts] == [
        ("The capital of New Zealand is", 0),
        ("New Zealand has the capital", 1),
        ("Alan Turing works in the field of", 0),
        ("Alan Turing is known for", 2),
    ]
    assert tokens(lm, prompts[0]) == ["The", "Ġcapital", "Ġof", "ĠNew", "ĠZealand", "Ġis"]
    assert all(prompt.position == len(prompt.ids) - 1 for prompt in prompts)
    assert [token(lm, prompt) for prompt in prompts] == ["ĠWellington", "ĠWellington", "Ġlogic", "Ġlogic"]


def test_a_leading_special_token_is_part_of_a_decoders_prompt(loaded, tiny_dataset):
    lm = loaded("llama")

    def with_start(texts):
        return {"input_ids": [[lm.tokenizer.bos_token_id, *ids] for ids in lm.tokenizer(texts)["input_ids"]]}

    class Starting:
        unk_token_id, model_max_length = None, 64
        __call__ = staticmethod(with_start)

    prompt = ask(dataclasses.replace(lm, tokenizer=Starting()), tiny_dataset, "Peru", "Lima")[0]
    assert tokens(lm, prompt) == ["<|endoftext|>", "The", "Ġcapital", "Ġof", "ĠPeru", "Ġis"]
    assert (prompt.position, token(lm, prompt)) == (5, "ĠLima")


def test_the_first_word_of_a_sentence_has_a_token_without_a_space_in_roberta(loaded, tiny_dataset):
    lm = loaded("roberta")
    prompts = ask(lm, tiny_dataset, "Norway", "Oslo")
    assert [token(lm, prompt) for prompt in prompts] == ["ĠOslo", "ĠOslo", "Oslo"]
    assert prompts[2].target != prompts[0].target
    assert [prompt.position for prompt in prompts] == [6, 5, 1]
    assert tokens(lm, prompts[0]) == ["<s>", "The", "Ġcapital", "Ġof", "ĠNorway", "Ġis", "<mask>", ".", "</s>"]


@pytest.mark.parametrize("model_type, asked", [("bert", 3), ("roberta", 3), ("gpt2", 2), ("llama", 2)])
@pytest.mark.parametrize("answer", ["San Marino", "Ouagadougou", "Ωmega"])
def test_an_object_that_is_not_one_token_is_left_out(model_type, asked, answer, loaded, tiny_dataset):
    found = ask(loaded(model_type), tiny_dataset, "San Marino", answer)
    assert reasons(found) == [NOT_ONE_TOKEN] * asked


@pytest.mark.parametrize("model_type", ["bert", "gpt2"])
def test_templates_that_give_the_same_tokens_are_one_prompt(model_type, loaded, tiny_dataset):
    templates = [
        "The capital of [X] is [Y].",
        "The capital of [X] is  [Y] .",
        "[X] has the capital [Y]",
        "The capital of [X] is [Y] .",
    ]
    dataset = dataclasses.replace(tiny_dataset, templates={"P36": templates})
    facts = [Fact("P36", index, "Norway", "Oslo") for index in range(2)]  # a fact that is given twice is two facts
    found = encode(loaded(model_type), dataset, facts)
    assert reasons(found) == [None, SAME_PROMPT, None, SAME_PROMPT] * 2
    assert [item.index for item in found] == [0, 1, 2, 3] * 2


@pytest.mark.parametrize("model_type", DECODERS)
def test_longer_objects_are_asked_for_by_their_first_token(model_type, loaded, tiny_dataset):
    lm, dataset = loaded(model_type), dataclasses.replace(tiny_dataset, objects="first-token")
    found = ask(lm, dataset, "San Marino", "San Marino")
    assert [token(lm, prompt) for prompt in found] == ["ĠSan", "ĠSan"]
    assert [prompt.text for prompt in found] == ["The capital of San Marino is", "San Marino has the capital"]
    assert ask(lm, dataset, "Peru", "Lima") == ask(lm, tiny_dataset, "Peru", "Lima")
    assert reasons(ask(lm, dataset, "Peru", "Ωmega")) == [NO_TOKEN] * 2  # a blank, then the bytes of Ω


def test_a_masked_model_is_not_asked_for_a_first_token(loaded, tiny_dataset):
    with pytest.raises(ValueError, match="objects is 'first-token', and tiny-bert-.* is a masked model"):
        ask(loaded("bert"), dataclasses.replace(tiny_dataset, objects="first-token"), "Peru", "Lima")


@pytest.mark.parametrize("model_type", ["roberta", "gpt2"])
def test_an_object_that_merges_with_the_text_beside_it_is_left_out(model_type, loaded, tiny_dataset):
    dataset = dataclasses.replace(tiny_dataset, templates={"P36": ["[X] is for No[Y]"]})
    assert reasons(ask(loaded(model_type), dataset, "Peru", "rway")) == [MERGED]  # ĠNorway is one token


def test_relations_without_object_final_templates_are_left_out_of_decoders_once_per_fact(loaded, tiny_dataset):
    facts = [tiny_dataset.facts["P30"][0], tiny_dataset.facts["P36"][0], tiny_dataset.facts["P30"][1]]
    found = encode(loaded("gpt2"), tiny_dataset, facts)
    assert reasons(found) == [NOT_OBJECT_FINAL, None, None, NOT_OBJECT_FINAL]
    assert [item.fact for item in found] == [facts[0], facts[1], facts[1], facts[2]]
    assert reasons(encode(loaded("bert"), tiny_dataset, facts)) == [None] * 7
    assert encode(loaded("gpt2"), tiny_dataset, []) == encode(loaded("bert"), tiny_dataset, []) == []


@pytest.mark.parametrize("model_type", ["bert", "gpt2"])
@pytest.mark.parametrize("seed", range(6))
def test_for_every_fact_of_a_draw_that_cannot_be_asked_another_is_drawn(model_type, seed, loaded, tiny_dataset):
    lm = loaded(model_type)
    first = tiny_dataset.draw("P36", 3, seed)
    drawn = draw_facts(lm, tiny_dataset, "P36", 3, seed)
    more = drawn[3:]
    assert drawn[:3] == first and len(set(drawn)) == len(drawn)
    assert sum(bool(usable_prompts(lm, tiny_dataset, fact)) for fact in drawn) == 3
    assert all(usable_prompts(lm, tiny_dataset, fact) for fact in more) and more == sorted(more, key=lambda fact: fact.index)
    assert drawn == draw_facts(lm, tiny_dataset, "P36", 3, seed)


def test_other_seeds_draw_other_facts_for_those_that_cannot_be_asked(loaded, tiny_dataset):
    draws = [draw_facts(loaded("bert"), tiny_dataset, "P36", 2, seed) for seed in range(40)]
    assert len({tuple(facts[2:]) for facts in draws if len(facts) == 3}) > 1


def test_no_more_facts_are_drawn_than_can_be_asked(loaded, tiny_dataset):
    lm = loaded("gpt2")
    assert draw_facts(lm, tiny_dataset, "P36", None, 1) == tiny_dataset.facts["P36"] == draw_facts(lm, tiny_dataset, "P36", 6, 1)
    drawn = draw_facts(lm, tiny_dataset, "P36", 5, 1)
    assert {fact for fact in tiny_dataset.facts["P36"] if usable_prompts(lm, tiny_dataset, fact)} <= set(drawn)
    assert draw_facts(lm, tiny_dataset, "P30", 1, 1) == tiny_dataset.draw("P30", 1, 1)  # none can be asked


def test_a_subject_that_holds_a_mask_is_left_out_of_encoders_only(loaded, tiny_dataset):
    assert reasons(ask(loaded("bert"), tiny_dataset, "New [MASK]", "Oslo")) == [AMBIGUOUS_MASK] * 3
    assert reasons(ask(loaded("gpt2"), tiny_dataset, "New [MASK]", "Oslo")) == [None] * 2


@pytest.mark.parametrize("model_type", ["bert", "roberta", "gpt2", "llama"])
def test_a_prompt_longer_than_the_model_reads_is_left_out(model_type, loaded, tiny_dataset):
    lm = loaded(model_type)
    longest = lm.max_length - len(ask(lm, tiny_dataset, "Peru", "Lima")[0].ids) + 1
    fits, too_long = (ask(lm, tiny_dataset, " ".join(["Peru"] * count), "Lima")[0] for count in (longest, longest + 1))
    assert isinstance(fits, Prompt) and len(fits.ids) == lm.max_length
    assert too_long == LeftOut(too_long.fact, TOO_LONG)
    assert lm.max_length == (62 if model_type == "roberta" else 64)
    assert lm.model(torch.tensor([fits.ids])).logits.isfinite().all()


def test_a_placeholder_inside_a_subject_stays_as_it_is(loaded, tiny_dataset):
    assert fill("[X] has [Y].", "a [Y] b [X]", "[X]") == "a [Y] b [X] has [X]."
    assert ask(loaded("gpt2"), tiny_dataset, "New [Y]", "Oslo")[1].text == "New [Y] has the capital"
    assert ask(loaded("bert"), tiny_dataset, "New [Y]", "Oslo")[2].text == "[MASK] is the capital of New [Y]."


@pytest.mark.parametrize("template", ["[X] is [Y]", "[X] is [Y].", "[X] is [Y] .", "[Y]"])
def test_object_final(template):
    assert ends_with_object(template)


@pytest.mark.parametrize("template", ["[Y] is [X]", "[X] is [Y]!", "[X] is [Y], too", "[X] is [Y].)", "In [Y], [X]."])
def test_not_object_final(template):
    assert not ends_with_object(template)


def test_groups_share_a_length_and_hold_every_prompt_once(loaded, tiny_dataset):
    lm = loaded("bert")
    found = encode(lm, tiny_dataset, [fact for relation in tiny_dataset.relations for fact in tiny_dataset.facts[relation]])
    prompts = [item for item in found if isinstance(item, Prompt)]
    limits = {}

    def limit(length):
        limits[length] = 2 if length < 10 else 3
        return limits[length]

    groups = list(group_by_length(prompts, limit))
    lengths = [{len(prompts[index].ids) for index in group} for group in groups]
    assert sorted(index for group in groups for index in group) == list(range(len(prompts)))
    assert all(len(length) == 1 for length in lengths)
    assert [min(length) for length in lengths] == sorted(min(length) for length in lengths)
    assert all(len(group) <= limits[min(length)] for group, length in zip(groups, lengths, strict=True))
    assert len(groups) < len(prompts)
    assert limits.keys() == {len(prompt.ids) for prompt in prompts}


def test_a_batch_is_its_prompts_as_tensors(loaded, tiny_dataset):
    prompts = encode(loaded("bert"), tiny_dataset, tiny_dataset.facts["P36"][:2])[::3]
    batch = stack(prompts, torch.device("cpu"))
    assert len(batch) == 2
    assert tuple(batch.ids[1].tolist()) == prompts[1].ids
    assert batch.position.tolist() == [prompt.position for prompt in prompts]
    assert batch.target.tolist() == [prompt.target for prompt in prompts]
