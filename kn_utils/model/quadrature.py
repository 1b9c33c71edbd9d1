"""Quadrature rules on [0, 1] for the path integral of integrated gradients (equation 3)."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pandas as pd
import torch
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from kn_utils.paths import DATA

NESTED_RULES = DATA / "nested_rules.csv"

NESTED = (1, 3, 7, 15, 31, 63, 127)  # numbers of nodes of the nested rules


@dataclass(frozen=True)
class Rule:
    """Nodes [k] and weights [k] of a quadrature rule on [0, 1], float64; weights [k, r] if r rules share the nodes."""

    nodes: Tensor
    weights: Tensor

    def with_zero(self) -> "Rule":
        """Return the rule with an additional node 0 of weight 0; the completeness gap needs the probability there."""
        return Rule(*(torch.cat([torch.zeros_like(values[:1]), values]) for values in (self.nodes, self.weights)))

    def chunks(self, size: int) -> Iterator["Rule"]:
        """Yield the rule in chunks of at most `size` nodes; the sums over the chunks add up to the sum of the rule."""
        for nodes, weights in zip(self.nodes.split(size), self.weights.split(size), strict=True):
            yield Rule(nodes, weights)


def left_riemann(n: int) -> Rule:
    """Return the left Riemann sum with n nodes k/n, k = 0 .. n-1, and equal weights, as in the authors' released code."""
    return Rule(torch.arange(n, dtype=torch.float64) / n, torch.full((n,), 1 / n, dtype=torch.float64))


def gauss_legendre(n: int) -> Rule:
    """Return the Gauss-Legendre rule with n nodes, exact for polynomials of degree 2n - 1."""
    nodes, weights = (torch.from_numpy(values) for values in leggauss(n))
    return Rule((nodes + 1) / 2, weights / 2)


@cache
def nested(level: int) -> Rule:
    """Return the nodes [k] that the rule of `NESTED[level]` nodes adds to the rule before, and their weights [k, 7] in all nested rules.

    Level 1 has the nodes of the first two rules, since the first rule, with one node, is used for comparison only.

    The first two are Gauss-Legendre rules; the others are Patterson's extensions. Each rule contains the nodes of all earlier ones. With n
    nodes it is exact for polynomials of degree (3n + 1) / 2 (Patterson, Mathematics of Computation 22, 1968).
    `data/make_nested_rules.py` computes the file.
    """
    table = torch.from_numpy(pd.read_csv(NESTED_RULES).to_numpy())
    new = table[NESTED[level - 1] if level > 1 else 0 : NESTED[level]]
    return Rule(new[:, 0], new[:, 1:])


def nested_rules_digest() -> str:
    """Return the SHA-256 of the file of the nested rules."""
    return hashlib.sha256(NESTED_RULES.read_bytes()).hexdigest()
