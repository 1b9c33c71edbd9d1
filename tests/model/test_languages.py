"""Templates in six languages, read by the three kinds of tokenizers; and words in scripts without blanks between them."""

from types import SimpleNamespace

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from kn_utils.data.facts import Dataset, Fact
from kn_utils.model.own_sentences import sentence_prompts
from kn_utils.model.prompts import NOT_ONE_TOKEN, LeftOut, encode, ends_with_object, fill
from kn_utils.model.sentences import comparable_word, distance, tail, whole_words, words

# the first template ends with the object, the second begins with it
LANGUAGES = {
    "Chinese": (["[X]的首都是[Y]。", "[Y]是[X]的首都。"], "挪威", "奥"),
    "Japanese": (["[X]の首都は[Y]。", "[Y]は[X]の首都です。"], "ノルウェー", "京"),
    "Arabic": (["عاصمة [X] هي [Y].", "[Y] هي عاصمة [X]."], "النرويج", "أوسلو"),
    "Hindi": (["[X] की राजधानी है [Y]।", "[Y] [X] की राजधानी है।"], "नॉर्वे", "कटक"),
    "Thai": (["เมืองหลวงของ[X]คือ[Y]", "[Y]เป็นเมืองหลวงของ[X]"], "นอร์เวย์", "ยะลา"),
    "German": (["Die Hauptstadt von [X] ist [Y].", "[Y] ist die Hauptstadt von [X]."], "Norwegen", "Köln"),
}
SPACED = ("Arabic", "Hindi", "German")


def tokenizer_of(kind: str, language: str) -> PreTrainedTokenizerFast:
    """A tokenizer whose vocabulary has the object as one token, with a blank before it where the language has one."""
    templates, subject, answer = LANGUAGES[language]
    texts = [fill(template, subject, answer) for template in templates]
    special = ["<pad>", "<unk>", "<mask>"]
    blank = " " if language in SPACED else ""
    if kind == "byte-level":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(special_tokens=special, initial_alphabet=alphabet, min_frequency=1, show_progress=False)
        tokenizer.train_from_iterator([blank + answer] * 3, trainer)
    elif kind == "sentencepiece":
        tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), *pieces(texts, f"{'▁' if blank else ''}{answer}")], unk_id=0))
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        tokenizer.add_special_tokens(special[::2])
    else:
        split = pre_tokenizers.BertPreTokenizer()
        normalise = normalizers.BertNormalizer(lowercase=False)
        found = [word for text in texts for word, _ in split.pre_tokenize_str(normalise.normalize_str(text))]
        known = found if blank else []
        characters = [f"{mark}{letter}" for word in found for letter in word for mark in ("", "##")]
        vocabulary = dict.fromkeys([*special, *known, *characters, answer, f"##{answer}"])
        tokenizer = Tokenizer(models.WordPiece({word: n for n, word in enumerate(vocabulary)}, unk_token="<unk>"))
        tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalise, split, decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=bool(blank) and kind != "WordPiece")])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", mask_token="<mask>", model_max_length=200)


def pieces(texts: list[str], answer: str) -> list[tuple[str, float]]:
    """The pieces of a Unigram vocabulary: characters, and the object, which is more likely than its characters together."""
    letters = {letter for text in texts for letter in text.replace(" ", "▁")} | {"▁"}
    return [(letter, -5.0) for letter in sorted(letters - {answer})] + [(answer, -1.0)]


def ask(kind: str, language: str, masked: bool):
    templates, subject, answer = LANGUAGES[language]
    tokenizer = tokenizer_of(kind, language)
    lm = SimpleNamespace(tokenizer=tokenizer, masked=masked, max_length=200, name="tiny")
    fact = Fact("capital", 0, subject, answer)
    return lm, encode(lm, Dataset("own", {"capital": [fact]}, {"capital": templates}, {}, None), [fact])


@pytest.mark.parametrize("kind", ["byte-level", "sentencepiece", "WordPiece"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_decoder_reads_up_to_the_object_and_predicts_it(kind, language):
    templates, subject, answer = LANGUAGES[language]
    lm, [prompt] = ask(kind, language, masked=False)  # the other template does not end with the object
    assert prompt.text == templates[0].partition("[Y]")[0].strip().replace("[X]", subject)
    assert lm.tokenizer.decode([prompt.target]).strip().removeprefix("##") == answer
    assert prompt.ids == tuple(lm.tokenizer(prompt.text)["input_ids"])


@pytest.mark.parametrize("kind", ["byte-level", "sentencepiece", "WordPiece"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_an_encoder_reads_a_mask_in_the_objects_place(kind, language):
    answer = LANGUAGES[language][2]
    lm, found = ask(kind, language, masked=True)
    prompt = found[0]
    assert lm.tokenizer.decode([prompt.target]).strip().removeprefix("##") == answer
    whole = lm.tokenizer(prompt.text.replace("<mask>", answer))["input_ids"]
    assert [*prompt.ids[: prompt.position], prompt.target, *prompt.ids[prompt.position + 1 :]] == whole


def test_an_object_of_two_characters_is_two_tokens_of_a_chinese_bert():
    lm, _ = ask("WordPiece", "Chinese", masked=True)
    fact = Fact("capital", 0, "挪威", "奥是")
    found = encode(lm, Dataset("own", {"capital": [fact]}, {"capital": ["[X]的首都是[Y]。"]}, {}, None), [fact])
    assert found == [LeftOut(fact, NOT_ONE_TOKEN, 0)]


@pytest.mark.parametrize(
    "template", ["[X]的首都是[Y]。", "[X] की राजधानी है [Y] ।", "عاصمة [X] هي [Y]\u200f.", "[X] کا دارالحکومت [Y]۔", "[X]は[Y]．"]
)
def test_full_stops_of_other_scripts_and_invisible_marks_may_follow_the_object(template):
    assert ends_with_object(template)


@pytest.mark.parametrize("template", ["[X]の首都は[Y]です。", "[X]是[Y]吗？", "[X] की राजधानी [Y]ा"])
def test_other_letters_and_vowel_signs_may_not(template):
    assert not ends_with_object(template)


@pytest.mark.parametrize(
    "sentence, text", [("挪威的首都是", "挪威的首都是"), ("挪威的首都是[MASK]。", "挪威的首都是"), ("挪威 :", "挪威 :")]
)
def test_an_own_sentence_gets_a_blank_before_its_answer_only_where_the_script_has_blanks(sentence, text):
    lm, _ = ask("byte-level", "Chinese", masked=False)
    [prompt] = sentence_prompts(lm, sentence)
    assert prompt.text == text


def test_words_keep_their_marks_and_characters_without_blanks_are_words():
    def texts(sentence):
        return [sentence[slice(*span)] for span in words(sentence)]

    assert texts("नॉर्वे की राजधानी है।") == ["नॉर्वे", "की", "राजधानी", "है"]
    assert texts("la ville de Ma\u0301laga") == ["la", "ville", "de", "Ma\u0301laga"]
    assert texts("挪威的Oslo市。") == ["挪", "威", "的", "Oslo", "市"]
    assert texts("ที่นี่") == ["ที่", "นี่"]
    assert texts("عاصمةُ النرويج") == ["عاصمةُ", "النرويج"]


@pytest.mark.parametrize(
    "text, sentence, expected",
    [
        ("奥斯陆", "挪威的首都是奥斯陆，奥斯陆很美。", [(6, 9), (10, 13)]),
        ("Oslo", "挪威的首都Oslo很美。", [(5, 9)]),
        ("कर", "करना कर", [(5, 7)]),
        ("क", "का क", [(3, 4)]),  # not the letter inside another letter with its vowel sign
        ("นอร์เว", "นอร์เวย์", [(0, 6)]),
        ("นอร", "นอร์เวย์", []),  # ร carries a mark
        ("Malaga", "Malaga\u0301", []),
        ("a a", "xa a a", [(3, 6)]),
    ],
)
def test_whole_words_of_other_scripts(text, sentence, expected):
    assert whole_words(text, sentence) == expected


NORWAY = Fact("P36", 0, "挪威", "奥斯陆")


def test_the_tail_and_its_comparable_word_in_a_sentence_without_blanks():
    sentence = "挪威有首都，名叫奥斯陆。"
    assert tail(sentence, NORWAY, masked=True) == (8, 11)
    assert distance(sentence, NORWAY, True, (8, 11)) == 6  # five characters stand between them
    other = "挪威有很多山和水。"
    assert comparable_word(other, NORWAY, True, 1) == (2, 5)
    assert comparable_word(other, NORWAY, True, 3) == (4, 7)
    assert comparable_word(other, NORWAY, True, 99) == (5, 8)
