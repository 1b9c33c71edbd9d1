"""Quadrature rules on [0, 1] for the path integral of integrated gradients (equation 3)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from numpy.polynomial.legendre import leggauss
from torch import Tensor


@dataclass(frozen=True)
class Rule:
    """Nodes and weights of a quadrature on [0, 1], float64."""

    nodes: Tensor
    weights: Tensor

    def with_zero(self) -> "Rule":
        """Put the node 0 with weight 0 in front, where the completeness gap needs the probability."""
        zero = torch.zeros(1, dtype=torch.float64)
        return Rule(torch.cat([zero, self.nodes]), torch.cat([zero, self.weights]))

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
