"""Scripts of the world: which write no blanks between words, what ends a sentence, and what belongs to a letter.

Character classes are those of the package `regex`, which knows the scripts and the marks of Unicode.
"""

import regex

_SCRIPTS = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")
UNSPACED = "ー" + "".join(rf"\p{{Script={script}}}" for script in _SCRIPTS)  # written without blanks between words
LETTER = r"[\p{L}\p{N}_]"
SPACED = rf"(?:(?![{UNSPACED}]){LETTER}\p{{M}}*)"  # a letter with its marks, in a script with blanks between words
CHARACTER = rf"(?:[{UNSPACED}]\p{{M}}*)"  # one of a script without them
WORD = rf"{SPACED}+(?:['’-]{SPACED}+)*|{CHARACTER}"
FULL_STOPS = ".。．｡।॥۔։።။។"  # Latin, Chinese and Japanese, Hindi, Urdu, Armenian, Ethiopic, Burmese, Khmer
OTHER_ENDS = "!?！？؟"
DIRECTION_MARKS = "\u200e\u200f"  # invisible, as editors put them beside Arabic or Hebrew


def without_blanks(text: str) -> bool:
    """Return whether a text ends in a script that is written without blanks between words."""
    return regex.search(rf"{CHARACTER}$", text) is not None


def begins_word(text: str, place: int) -> bool:
    """Return whether a word may begin at a place of a text: no letter of a script with blanks stands on both sides of it."""
    return regex.compile(rf"(?={CHARACTER})|(?<!{SPACED})").match(text, place) is not None


def ends_word(text: str, place: int) -> bool:
    """Return whether a word may end at a place of a text, which is not inside a letter with its marks."""
    return regex.compile(rf"(?!\p{{M}})(?:(?<={CHARACTER})|(?!{SPACED}))").match(text, place) is not None
