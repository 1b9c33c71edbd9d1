"""Facts and web sentences that a fixed rule leaves out of the training of the bundled model `starter`.

The rule hashes normalised texts. So it depends neither on the relation nor on the order of a file, and spellings that differ only in case,
accents or punctuation are treated alike. `data/starter/train_model.py` uses it.
"""

import hashlib
import re
import unicodedata

FACTS_PER_HELD_OUT = 10
SENTENCES_PER_HELD_OUT = 5


def words(text: str) -> list[str]:
    """Return a text's words in lower case, without accents and punctuation."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return re.findall(r"\w+", "".join(letter for letter in decomposed if not unicodedata.combining(letter)))


def is_held_out_fact(subject: str, object: str) -> bool:
    """Return whether the rule leaves this pair out, whichever of the two is the subject; it leaves out one pair in ten.

    No training sentence holds both texts of a left-out pair of ParaRel; of other pairs only their own sentences are left out.
    """
    first, second = sorted(" ".join(words(text)) for text in (subject, object))
    return _hash(f"{first}\t{second}") % FACTS_PER_HELD_OUT == 0


def is_held_out_sentence(sentence: str) -> bool:
    """Return whether the rule leaves a web sentence out; it leaves out one in five."""
    return _hash(" ".join(words(sentence))) % SENTENCES_PER_HELD_OUT == 0


def _hash(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)
