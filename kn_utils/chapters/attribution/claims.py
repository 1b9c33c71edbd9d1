"""The claim about the time that attribution takes (section 3.2)."""

from kn_utils.stats.rule import Claim

CLAIMS = (
    Claim("3.2", "the time that attribution takes", remark="the paper's is on another device, a V100; chapter 1 shows ours"),
)
