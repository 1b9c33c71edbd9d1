"""The page on what is refused: each case is made here, and its message is the page's."""

import re
from importlib.util import find_spec

import pytest
import spoilt_models
import spoilt_tokenizers
import tiny_folders
from model_that_needs_its_start import NeedsStart
from supported_models import tiny_language_model

from kn_utils.data.facts import load_dataset
from kn_utils.model import prompts
from kn_utils.model.devices import moved
from kn_utils.model.models import load_model
from kn_utils.model.tokenizers import check_tokenizer
from kn_utils.paths import ROOT

PAGE = (ROOT / "book/what_is_refused.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, str]:
    """The rows of the table below a heading of the page, without its head; a message is printed as code."""
    part = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in part.splitlines() if line.startswith("| ")]
    return {row[0]: row[-1].removeprefix("`").removesuffix("`") for row in found[1:]}


def assert_is_the_pages(error: Exception, message: str) -> None:
    """The page's message with `…` for what differs."""
    pattern = ".+".join(map(re.escape, message.split("…")))
    assert re.fullmatch(pattern, str(error), re.DOTALL), f"{error}\n\nis not\n\n{message}"


def spoilt(spoil, **changes):
    return lambda at: load_model(spoil(at.folder_of, at.folder, **changes), "cpu")


def without_a_hub(at):
    with spoilt_models.no_hub(at.folder):
        load_model("someone/nothing", "cpu")


def on_a_wrong_device(at):
    model = load_model(at.folder_of("bert"), "cpu").model
    moved("mine", model, spoilt_models.other_device(model, spoilt_models.scale_a_weight))


MODELS = {
    "no folder, and a hub that does not answer": without_a_hub,
    "weights in a pickle file alone": spoilt(spoilt_models.pickled_alone),
    "an encoder without its head": spoilt(spoilt_models.without_head),
    "fewer weights than layers": spoilt(spoilt_models.copy_of_bert, num_hidden_layers=4),
    "weights of another size than config.json says": spoilt(spoilt_models.copy_of_bert, hidden_size=64),
    "weights that the model does not use (BERT with relative positions)": spoilt(spoilt_models.with_relative_positions),
    "an encoder-decoder": spoilt(spoilt_models.copy_of_bert, model_type="t5"),
    "no language model": spoilt(spoilt_models.copy_of_bert, model_type="vit"),
    "an encoder set up as a decoder": spoilt(spoilt_models.copy_of_bert, is_decoder=True),
    "mixture-of-experts layers": lambda at: tiny_language_model("mixtral"),
    "state-space layers": lambda at: tiny_language_model("mamba"),
    "a device that is not there": lambda at: load_model(at.folder_of("bert"), "cuda:99"),
    "a device that computes something else than the CPU": on_a_wrong_device,
}
TOKENIZERS = {
    "the mask stands beside a blank of its own (RoBERTa of `vocab.json` and `merges.txt` alone)": spoilt(
        spoilt_tokenizers.vocabulary_and_merges_alone
    ),
    "no mask": spoilt(spoilt_tokenizers.without_mask),
    "no `[CLS]` or `[SEP]` around a masked model's prompt": spoilt(spoilt_tokenizers.without_ends),
    "the start token that the configuration asks for is not added": spoilt(spoilt_tokenizers.start_asked_for),
    "a plain text is over 100 times less surprising behind the start token, which is not added (Gemma)": lambda at: (
        check_tokenizer("mine", False, at.loaded("llama").tokenizer, NeedsStart(101), {})
    ),
    "a special token behind a left-to-right model's prompt": spoilt(spoilt_tokenizers.end_behind),
    "a cased vocabulary read in lower case (BERT of `vocab.txt` alone)": spoilt(spoilt_tokenizers.vocabulary_alone),
    "text does not come back": spoilt(spoilt_tokenizers.without_decoder),
    "blanks are lost": spoilt(spoilt_tokenizers.without_blanks),
    "bytes or characters in place of words": spoilt(spoilt_tokenizers.of_characters),
    "the library of a SentencePiece or tiktoken file is missing": spoilt(spoilt_tokenizers.of_a_missing_library),
    "a SentencePiece file that was not read": spoilt(spoilt_tokenizers.empty_for_want_of_a_library),
    "another model's tokenizer": lambda at: load_model(
        tiny_folders.write_model(at.folder / "mine", "bert", vocab_size=25), "cpu"
    ),
    "longer objects asked of a masked model": lambda at: prompts.encode(
        at.loaded("bert"), load_dataset(at.data, "first-token"), []
    ),
}


RECORD = '{"sub_label": "Norway", "obj_label": "Oslo"}'


def facts(name: str, content: str | bytes, ask: str = ""):
    """Load a data set whose file `name` is given; `ask` is what is loaded, "" for the folder."""

    def load(at):
        folder = tiny_folders.write_data(at.folder / "own", {"P36": [["Norway", "Oslo"]]}, {"P36": ["[X] has [Y]."]})
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_dataset(folder / ask)

    return load


def without_patterns(at):
    folder = tiny_folders.write_data(at.folder / "own", {"P36": [["Norway", "Oslo"]]}, {"P36": ["[X] has [Y]."]})
    (folder / "patterns/P36.jsonl").unlink()
    return load_dataset(folder)


FACTS = {
    "nothing there": lambda at: load_dataset(at.folder / "nowhere"),
    "another encoding": facts("query_pairs.json", '{"P36": [["Spain", "Málaga"]]}'.encode("latin-1")),
    "no JSON": facts("query_pairs.json", '{"P36": [["Norway", "Oslo"]}'),
    "a relation given twice": facts("query_pairs.json", '{"P36": [["Norway", "Oslo"]], "P36": [["Peru", "Lima"]]}'),
    "an empty object": facts("query_pairs.json", '{"P36": [["Norway", " "]]}'),
    "a relation's name with a slash": facts("query_pairs.json", '{"../P36": [["Norway", "Oslo"]]}'),
    "a template without a place for the object": facts("patterns/P36.jsonl", '{"pattern": "[X] is a country."}'),
    "no templates of a relation": without_patterns,
    "a table without column names": facts("P36.csv", "Norway,Oslo\n", "P36.csv"),
    "a table with semicolons": facts("P36.csv", "subject;object\nNorway;Oslo\n", "P36.csv"),
    "a table without templates beside it": facts("P36.csv", "subject,object\nNorway,Oslo\n", "P36.csv"),
    "a CounterFact record that lacks a part": facts("cf.json", '[{"requested_rewrite": {"subject": "Peru"}}]', "cf.json"),
    "tuple files without templates": facts("tuples/de/P36.jsonl", RECORD, "tuples/de"),
}


class Place:
    """What a case needs: an empty folder, tiny models and data."""

    def __init__(self, folder, folder_of, loaded, data):
        self.folder, self.folder_of, self.loaded, self.data = folder, folder_of, loaded, data


@pytest.fixture
def at(tmp_path, folder_of, loaded, tiny_data):
    return Place(tmp_path, folder_of, loaded, tiny_data)


def test_the_page_has_these_cases_and_no_other():
    assert list(rows("Models")) == list(MODELS)
    assert list(rows("Tokenizers")) == list(TOKENIZERS)
    assert list(rows("Facts")) == list(FACTS)


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_gets_the_message_of_the_page(kind, at):
    with pytest.raises((ValueError, OSError)) as error:
        MODELS[kind](at)
    assert_is_the_pages(error.value, rows("Models")[kind])


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_tokenizer_gets_the_message_of_the_page(kind, at):
    if "SentencePiece" in kind and find_spec("sentencepiece"):
        pytest.skip("the library is here")
    with pytest.raises((ValueError, OSError)) as error:
        TOKENIZERS[kind](at)
    assert_is_the_pages(error.value, rows("Tokenizers")[kind])


@pytest.mark.parametrize("kind", FACTS)
def test_facts_get_the_message_of_the_page(kind, at):
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        FACTS[kind](at)
    assert_is_the_pages(error.value, rows("Facts")[kind])


def test_the_page_has_the_reasons_why_prompts_are_left_out():
    reasons = {value for name, value in vars(prompts).items() if name.isupper() and isinstance(value, str) and " " in value}
    assert set(rows("Prompts that are left out")) == reasons


def test_a_message_differs_only_where_the_page_says_so():
    assert_is_the_pages(ValueError("no (mask) in 'a\nb'"), "no (mask) in …")
    with pytest.raises(AssertionError):
        assert_is_the_pages(ValueError("no mask in 'a': add one"), "no mask in …: take one")
