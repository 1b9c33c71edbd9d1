"""Quadrature rules on [0, 1] for the path integral of integrated gradients (equation 3)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.polynomial.legendre import leggauss, legroots, legvander
from torch import Tensor

NESTED = (1, 3, 7, 15, 31, 63)  # sizes of the nested rules; beyond 63 nodes double precision does not suffice to find them


@dataclass(frozen=True)
class Rule:
    """Nodes [k] and weights of a quadrature on [0, 1], float64; weights [k, r] are those of r rules that share the nodes."""

    nodes: Tensor
    weights: Tensor

    def with_zero(self) -> "Rule":
        """Put the node 0 with weight 0 in front, where the completeness gap needs the probability."""
        return Rule(*(torch.cat([torch.zeros_like(values[:1]), values]) for values in (self.nodes, self.weights)))

    def chunks(self, size: int) -> Iterator["Rule"]:
        """Yield the rule in pieces of at most `size` nodes, whose sums add up to the rule's."""
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
    """Return what the nested rule of `NESTED[level]` nodes adds to the one before: new nodes, and their weights in every rule [k, 6].

    Level 1 holds the nodes of the first two rules: a rule of a single node is only good for comparison.

    The rules are Gauss-Legendre's of one and of three nodes, and Patterson's extensions of the latter, each of which keeps all earlier
    nodes: with n nodes they are exact for polynomials of degree (3n + 1) / 2 (Patterson, Mathematics of Computation 22, 1968).
    """
    nodes = _extended(NESTED[-1])
    weights = np.zeros((len(nodes), len(NESTED)))
    for rule, n in enumerate(NESTED):  # the weights that make it exact for as many Legendre polynomials as there are nodes
        weights[:n, rule] = np.linalg.solve(legvander(nodes[:n], n - 1).T, np.eye(n)[0])
    new = slice(NESTED[level - 1] if level > 1 else 0, NESTED[level])
    return Rule(torch.from_numpy((nodes[new] + 1) / 2), torch.from_numpy(weights[new]))


@cache
def _extended(n: int) -> np.ndarray:
    """The nodes on [-1, 1] of the nested rule with n nodes, those of each smaller one first.

    The new ones are the zeros of the polynomial E of degree m + 1 that makes E times the polynomial G with the m old zeros orthogonal to
    all of degree m and less. G is odd and E is even, so every other condition and coefficient is zero.
    """
    if n == 1:
        return np.zeros(1)
    old = _extended((n - 1) // 2)
    m = len(old)
    at, weight = leggauss(2 * m + 2)
    polynomials = legvander(at, m + 1)
    product = weight * np.prod(2 * (at[:, None] - old), axis=1)  # twice, so that it does not vanish
    conditions = (polynomials[:, 1 : m + 1 : 2] * product[:, None]).T @ polynomials[:, 0 : m + 2 : 2]
    coefficients = np.zeros(m + 2)
    coefficients[0::2] = [*np.linalg.solve(conditions[:, :-1], -conditions[:, -1]), 1]
    return np.concatenate([old, np.sort(legroots(coefficients).real)])
