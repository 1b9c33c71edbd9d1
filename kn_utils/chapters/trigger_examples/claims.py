"""The claim about trigger examples (section 4.4)."""

from kn_utils.stats.rule import Claim

CLAIMS = (
    Claim(
        "4.4",
        "the sentences that activate them most express the fact",
        remark="the paper shows examples and no number; chapter 5 shows ours",
    ),
)
