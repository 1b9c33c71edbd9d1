"""Makes `nested_rules.csv`: quadrature rules on [0, 1] with 1, 3, 7, ... 127 nodes, each of which keeps the nodes of all before it.

The rules are Gauss-Legendre's of one and of three nodes, and Patterson's extensions of the latter (Mathematics of Computation 22, 1968).
Double precision does not suffice to find the largest, so everything is computed with 60 digits: `python data/make_nested_rules.py`
"""

from itertools import pairwise
from pathlib import Path

import mpmath
import pandas as pd
from mpmath import mpf
from numpy.polynomial.legendre import leggauss

from kn_utils.model.quadrature import NESTED

mpmath.mp.dps = 60


def legendre(x: mpf, degree: int) -> list[mpf]:
    """Return the Legendre polynomials of degree 0 to `degree` at x."""
    values = [mpf(1), x]
    for n in range(1, degree):
        values.append(((2 * n + 1) * x * values[n] - n * values[n - 1]) / (n + 1))
    return values[: degree + 1]


def gauss(n: int) -> list[tuple[mpf, mpf]]:
    """Return the positive nodes and the weights of the Gauss-Legendre rule with n nodes on [-1, 1], n even."""
    rule = []
    for start in leggauss(n)[0][n // 2 :]:
        x = mpmath.findroot(lambda x: legendre(x, n)[n], mpf(float(start)))
        below = legendre(x, n)[n - 1]
        rule.append((x, 2 * (1 - x**2) / (n * below) ** 2))
    return rule


def extended(n: int) -> list[mpf]:
    """Return the nodes of the rule with n nodes on [-1, 1], those of each smaller rule first.

    The new ones are the zeros of the polynomial E of degree m + 1 that makes E times the polynomial G with the m old zeros orthogonal to
    all of degree m and less. G is odd and E is even, so half of all conditions, coefficients and zeros suffice.
    """
    if n == 1:
        return [mpf(0)]
    old = extended((n - 1) // 2)
    m = len(old)
    places = [(legendre(x, m + 1), weight * mpmath.fprod(2 * (x - zero) for zero in old)) for x, weight in gauss(2 * m + 2)]
    even, odd = range(0, m + 2, 2), range(1, m + 1, 2)
    conditions = mpmath.matrix([[sum(by * p[k] * p[e] for p, by in places) for e in even] for k in odd])
    coefficients = [*mpmath.lu_solve(conditions[:, : len(odd)], -conditions[:, len(odd)]), mpf(1)]

    def polynomial(x: mpf) -> mpf:
        return sum(by * legendre(x, m + 1)[e] for by, e in zip(coefficients, even, strict=True))

    ends = [*sorted(zero for zero in old if zero >= 0), mpf(1)]  # between any two old nodes lies a new one
    new = [mpmath.findroot(polynomial, pair, solver="anderson") for pair in pairwise(ends)]
    return old + [sign * x for x in new for sign in (-1, 1)]


def weights(nodes: list[mpf]) -> list[mpf]:
    """Return the weights, which add up to one, that make as many Legendre polynomials exact as there are nodes."""
    half = [x for x in nodes if x >= 0]
    values = [legendre(x, len(nodes) - 1)[::2] for x in half]
    conditions = mpmath.matrix(
        [[value[row] * (2 if x else 1) for x, value in zip(half, values, strict=True)] for row in range(len(half))]
    )
    found = mpmath.lu_solve(conditions, mpmath.matrix([1] + [0] * (len(half) - 1)))
    of = dict(zip(half, found, strict=True))
    return [of[abs(x)] for x in nodes]


def main() -> None:
    """Write the table: a row per node, in the order in which the rules add them, and a column of weights per rule."""
    nodes = extended(NESTED[-1])
    table = pd.DataFrame({"node": [float((x + 1) / 2) for x in nodes]})
    for n in NESTED:
        table[f"weight_{n}"] = [float(w) for w in weights(nodes[:n])] + [0.0] * (len(nodes) - n)
    table.to_csv(Path(__file__).with_name("nested_rules.csv"), index=False)


if __name__ == "__main__":
    main()
