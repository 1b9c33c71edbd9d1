"""Quadratures integrate what they should, and splitting them changes nothing."""

import math

import make_nested_rules
import numpy as np
import pytest
import torch

from kn_utils.model.quadrature import NESTED, Rule, gauss_legendre, left_riemann, nested


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


def nested_rule(level):
    """A nested rule put together from what it and those before add."""
    added = [nested(lower) for lower in range(1, max(level, 1) + 1)]
    n = NESTED[level]
    return Rule(torch.cat([rule.nodes for rule in added])[:n], torch.cat([rule.weights[:, level] for rule in added])[:n])


@pytest.mark.parametrize("level", range(len(NESTED)))
def test_nested_rules_keep_their_nodes_and_are_as_exact_as_patterson_says(level):
    rule, n = nested_rule(level), NESTED[level]
    assert len(rule.nodes) == n and rule.weights.min() > 0 and rule.nodes.min() > 0 and rule.nodes.max() < 1
    assert level < 2 or (nested(level).weights[:, :level] == 0).all()
    for degree in range((3 * n + 1) // 2 + 1 if level else 2):
        legendre = np.polynomial.Legendre.basis(degree, domain=[0, 1])
        assert integral(rule, lambda a, p=legendre: torch.from_numpy(p(a.numpy()))) == pytest.approx(
            float(degree == 0), abs=1e-11
        )


def test_the_first_nested_rules_are_gauss_legendre_and_gauss_kronrod():
    for level, n in ((0, 1), (1, 3)):
        ours, known = nested_rule(level), gauss_legendre(n)
        torch.testing.assert_close(ours.nodes.sort().values, known.nodes)
        torch.testing.assert_close(ours.weights[ours.nodes.argsort()], known.weights)
    seven = nested_rule(2)
    published = [0.9604912687080203, 0.7745966692414834, 0.4342437493468026, 0]  # Kronrod's extension of three nodes
    weights = [0.1046562260264673, 0.2684880898683334, 0.4013974147759622, 0.4509165386584741]
    order = (-seven.nodes).argsort()[:4]
    assert (2 * seven.nodes[order] - 1).tolist() == pytest.approx(published, abs=1e-14)
    assert (2 * seven.weights[order]).tolist() == pytest.approx(weights, abs=1e-14)


def test_the_table_of_nested_rules_is_what_its_script_computes():
    nodes = make_nested_rules.extended(15)
    for level, n in enumerate(NESTED[:4]):
        rule = nested_rule(level)
        assert rule.nodes.tolist() == [float((x + 1) / 2) for x in nodes[:n]]
        assert rule.weights.tolist() == [float(w) for w in make_nested_rules.weights(nodes[:n])]


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
