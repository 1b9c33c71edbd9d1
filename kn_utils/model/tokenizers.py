"""Checks of a tokenizer at load: one that does not fit its model is refused, with what was seen and what to do."""

from __future__ import annotations  # as in `kn_utils.model.models`

from math import exp

import torch
import transformers

from kn_utils.data.held_out import words

CONTEXTS = (
    ("The capital of Norway is ", "."),
    ("挪威的首都是", "。"),
)  # text before and behind an answer, with and without blanks
SAMPLE = 2000  # tokens of the vocabulary that are looked at
CASED_SHARE = 0.1  # of a vocabulary's words: from here on it is one of a cased model
START_FACTOR = 100  # a text that is this much less surprising behind the start token needs one
PASSAGE = "The capital of France is the city of Paris, and the capital of Italy is the city of Rome."
PASSAGE_TOKENS = 30
LIBRARIES = "pip install sentencepiece protobuf tiktoken"


def check_tokenizer(name: str, masked: bool, tokenizer: object, model: transformers.PreTrainedModel, settings: dict) -> None:
    """Raise ValueError if a tokenizer does not fit its model, or does not read a prompt as it reads the prompt's answer.

    `settings` is the content of `tokenizer_config.json`.
    """
    _check_vocabulary(name, masked, tokenizer, model.config.get_text_config().vocab_size)
    found = sample_words(tokenizer)
    before, word, behind = _sentence_of_one_token(name, tokenizer, list(found.values()))
    _check_case(name, tokenizer, found)
    _check_round_trip(name, tokenizer, f"{word} {word}")
    if masked:
        _check_ends(name, tokenizer, before + word + behind)
        _check_mask(name, tokenizer, before, word, behind)
    else:
        _check_start_and_end(name, tokenizer, before + word, settings)
        _check_start_by_probability(name, tokenizer, model)


def missing_library(reason: str) -> str:
    """Return what to install, if an error of transformers names a library that reads tokenizers."""
    named = any(library in reason.lower() for library in ("sentencepiece", "tiktoken"))
    return f"The library of its tokenizer may be missing: {LIBRARIES}. " if named else ""


def sample_words(tokenizer: object) -> dict[int, str]:
    """Return the words among at most `SAMPLE` evenly spaced tokens of the vocabulary, by token."""
    size = len(tokenizer)
    tokens = set(range(0, size, -(-size // SAMPLE))) - set(tokenizer.all_special_ids)
    texts = {token: tokenizer.decode([token]).strip() for token in sorted(tokens)}
    return {token: text for token, text in texts.items() if text.isalpha()}


def _check_vocabulary(name: str, masked: bool, tokenizer: object, vocab_size: int) -> None:
    if len(tokenizer) < vocab_size / 2:
        raise ValueError(
            f"the tokenizer of {name!r} knows {len(tokenizer)} of {vocab_size} tokens: are its files missing, "
            f"or the library that reads them ({LIBRARIES})?"
        )
    if tokenizer.vocab_size > vocab_size:  # without added tokens: Gemma 3 has one without an embedding
        raise ValueError(
            f"the tokenizer of {name!r} knows {tokenizer.vocab_size} tokens, the model {vocab_size}: it is another model's"
        )
    if masked and tokenizer.mask_token_id not in range(vocab_size):
        raise ValueError(f"the tokenizer of {name!r} has no mask token that the model knows, which a masked language model needs")


def _sentence_of_one_token(name: str, tokenizer: object, found: list[str]) -> tuple[str, str, str]:
    """Return a sentence in three parts, of which the middle one is a word that is one token."""
    for before, behind in CONTEXTS:
        without = _ids(tokenizer, before.rstrip() + behind)
        for word in found:
            ids = _ids(tokenizer, before + word + behind)
            known = ids.count(tokenizer.unk_token_id) == without.count(tokenizer.unk_token_id)
            if len(ids) == len(without) + 1 and known and (before.isascii() or not word.isascii()):
                return before, word, behind
    text = "The capital of Norway is Oslo."
    raise ValueError(
        f"the tokenizer of {name!r} reads no word as one token, so the model cannot be asked for a word: it reads {text!r} as "
        f"{_shown(tokenizer, _ids(tokenizer, text))}"
    )


def _check_case(name: str, tokenizer: object, found: dict[int, str]) -> None:
    """Raise ValueError if the vocabulary has words in upper case, and the tokenizer gives none of them."""
    cased = {token: word for token, word in found.items() if word != word.lower()}
    if len(cased) < max(1, CASED_SHARE * len(found)):
        return
    if not any(token in _ids(tokenizer, f"{word} {word}") for token, word in cased.items()):
        raise ValueError(
            f"the tokenizer of {name!r} reads text in lower case, but its vocabulary is cased ({', '.join(list(cased.values())[:3])}): "
            'put "do_lower_case": false into tokenizer_config.json'
        )


def _check_round_trip(name: str, tokenizer: object, text: str) -> None:
    ids = _ids(tokenizer, text)
    back = tokenizer.decode(ids, skip_special_tokens=True)
    if words(back) != words(text):
        raise ValueError(
            f"the tokenizer of {name!r} does not give a text back: it reads {text!r} as {_shown(tokenizer, ids)} and writes {back!r}. "
            "Take tokenizer.json from the original model: the decoder may be missing"
        )


def _check_ends(name: str, tokenizer: object, text: str) -> None:
    """Raise ValueError if a masked model's prompt lacks the first or the last special token that its tokenizer has."""
    ids = _ids(tokenizer, text)
    for what, place, token in (("begin", 0, tokenizer.cls_token_id), ("end", -1, tokenizer.sep_token_id)):
        if token is not None and ids[place] != token:
            raise ValueError(
                f"the tokenizer of {name!r} does not {what} a prompt with {tokenizer.convert_ids_to_tokens(token)}: "
                f"{_shown(tokenizer, ids)}. "
                "Take tokenizer.json from the original model: the post-processor is missing"
            )


def _check_mask(name: str, tokenizer: object, before: str, word: str, behind: str) -> None:
    """Raise ValueError if the tokens before a mask are not those before a word in its place."""
    masked, answered = _ids(tokenizer, before + tokenizer.mask_token + behind), _ids(tokenizer, before + word + behind)
    at = masked.index(tokenizer.mask_token_id)
    if masked[:at] != answered[:at]:
        raise ValueError(
            f"the tokenizer of {name!r} does not read a mask as it reads a word: {_shown(tokenizer, masked)} beside "
            f"{_shown(tokenizer, answered)}. A mask must take the blank before it if words do: "
            f"tokenizer.add_special_tokens({{'mask_token': AddedToken({tokenizer.mask_token!r}, lstrip=True)}}), "
            "then tokenizer.save_pretrained(folder)"
        )


def _check_start_and_end(name: str, tokenizer: object, text: str, settings: dict) -> None:
    """Raise ValueError if a left-to-right model's prompt ends with a special token, or lacks the start token that `settings` ask for."""
    ids = _ids(tokenizer, text)
    if ids[-1] in tokenizer.all_special_ids:
        raise ValueError(
            f"the tokenizer of {name!r} adds {tokenizer.convert_ids_to_tokens(ids[-1])} behind a prompt, so no answer would follow: "
            f"{_shown(tokenizer, ids)}. Set tokenizer.add_eos_token = False, and add_bos_token as the model needs it, "
            "then tokenizer.save_pretrained(folder)"
        )
    if settings.get("add_bos_token") and ids[0] != tokenizer.bos_token_id:
        raise ValueError(
            f"tokenizer_config.json of {name!r} asks for {tokenizer.bos_token} before a prompt (add_bos_token). {_NO_START}"
        )


def _check_start_by_probability(name: str, tokenizer: object, model: transformers.PreTrainedModel) -> None:
    """Raise ValueError if a text is far less surprising behind the start token, which the tokenizer does not add."""
    ids, start = _ids(tokenizer, PASSAGE)[:PASSAGE_TOKENS], model.config.get_text_config().bos_token_id
    if not isinstance(start, int) or start in ids:
        return
    without, behind = (perplexity(model, tokens, len(ids) - 1) for tokens in (ids, [start, *ids]))
    if without > START_FACTOR * behind:
        raise ValueError(
            f"{name!r} needs {tokenizer.convert_ids_to_tokens(start)} before a prompt: the perplexity of a plain text is {without:.3g} "
            f"without it and {behind:.3g} behind it. {_NO_START}"
        )


_NO_START = "The tokenizer does not add it: set tokenizer.add_bos_token = True, then tokenizer.save_pretrained(folder)"


def perplexity(model: transformers.PreTrainedModel, ids: list[int], last: int) -> float:
    """Return exp(mean(-ln P)) of the last tokens of a text."""
    with torch.inference_mode():
        logits = model(torch.tensor([ids], device=model.device)).logits[0].float()
    target = torch.tensor(ids[-last:], device=model.device)
    found = logits[-last - 1 : -1].log_softmax(-1)[torch.arange(last, device=model.device), target]
    return exp(-float(found.mean()))


def _ids(tokenizer: object, text: str) -> list[int]:
    return tokenizer(text)["input_ids"]


def _shown(tokenizer: object, ids: list[int]) -> str:
    return " ".join(tokenizer.convert_ids_to_tokens(ids))
