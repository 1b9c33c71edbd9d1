"""Quadratures integrate what they should, and splitting them changes nothing."""

import math

import pytest
import torch

from kn_utils.quadrature import gauss_legendre, left_riemann


def integral(rule, function):
    return float((rule.weights * function(rule.nodes)).sum())


@pytest.mark.parametrize("n", [1, 2, 3, 8, 20])
def test_gauss_legendre_is_exact_up_to_degree_2n_minus_1_and_no_further(n):
    rule = gauss_legendre(n)
    assert rule.nodes.dtype == rule.weights.dtype == torch.float64
    assert len(rule.nodes) == n and rule.nodes.min() > 0 and rule.nodes.max() < 1
    for degree in range(2 * n):
        assert integral(rule, lambda a, degree=degree: (2 * a - 1) ** degree) == pytest.approx((degree + 1) % 2 / (degree + 1))
    if n < 8:
        assert abs(integral(rule, lambda a: (2 * a - 1) ** (2 * n)) - 1 / (2 * n + 1)) > 1e-4


def test_many_nodes_resolve_a_steep_step():
    assert integral(gauss_legendre(512), lambda a: (200 * (a - 0.3)).sigmoid()) == pytest.approx(0.7, abs=1e-6)
    assert abs(integral(gauss_legendre(8), lambda a: (200 * (a - 0.3)).sigmoid()) - 0.7) > 1e-3


@pytest.mark.parametrize("n", [1, 4, 20])
def test_the_left_sum(n):
    rule = left_riemann(n)
    assert rule.nodes.tolist() == [k / n for k in range(n)]
    assert integral(rule, lambda a: a**0) == pytest.approx(1)
    assert integral(rule, lambda a: a) == pytest.approx((n - 1) / (2 * n))
    assert integral(rule, lambda a: a**2) == pytest.approx((n - 1) * (2 * n - 1) / (6 * n * n))


@pytest.mark.parametrize("rule", [left_riemann(20), gauss_legendre(20)])
@pytest.mark.parametrize("size", [1, 7, 20, 100])
def test_chunks_add_up_and_a_zero_node_adds_nothing(rule, size):
    wider = rule.with_zero()
    assert (len(wider.nodes), float(wider.nodes[0]), float(wider.weights[0])) == (21, 0, 0)
    chunks = list(wider.chunks(size))
    assert [len(chunk.nodes) for chunk in chunks] == [size] * (21 // size) + [21 % size] * (21 % size > 0)
    assert float(chunks[0].nodes[0]) == 0
    assert sum(integral(chunk, torch.exp) for chunk in chunks) == pytest.approx(integral(rule, torch.exp))
    assert integral(gauss_legendre(20), torch.exp) == pytest.approx(math.e - 1)
