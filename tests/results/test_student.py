"""Student's t for real degrees of freedom, compared with published tables and with SciPy."""

import math

import pytest

from snnbook.results import student

# NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2: degrees of freedom, then the quantiles at 95 %, 97.5 %
# and 99.5 %.
PUBLISHED = [
    (1, 6.314, 12.706, 63.657),
    (2, 2.920, 4.303, 9.925),
    (3, 2.353, 3.182, 5.841),
    (4, 2.132, 2.776, 4.604),
    (5, 2.015, 2.571, 4.032),
    (10, 1.812, 2.228, 3.169),
    (20, 1.725, 2.086, 2.845),
    (100, 1.660, 1.984, 2.626),
]

# scipy.stats.t.ppf of SciPy 1.17.1: degrees, 95 %, 97.5 %, 99.5 %.
QUANTILES = [
    (1.5, 3.70518082, 6.016663104, 17.82031051),
    (2.45, 2.585177489, 3.627393628, 7.350709306),
    (2.9, 2.38681819, 3.245438062, 6.045136704),
    (3.3, 2.268654567, 3.024874462, 5.34430607),
    (4.75, 2.038713903, 2.611813092, 4.143592995),
    (7.2, 1.886690762, 2.351373851, 3.466615794),
    (17.776, 1.735248191, 2.10282131, 2.882659867),
    (136.875, 1.656062377, 1.977447303, 2.612225627),
    (1e4, 1.645006018, 1.96020124, 2.576321047),
]

# 2 * scipy.stats.t.sf of SciPy 1.17.1: degrees, and the share beyond 0.5, 2.1, 4.24 and 6.6 on both sides.
TAILS = [
    (1.5, 0.6805671107, 0.2113454355, 0.08273672716, 0.04367802619),
    (2.45, 0.6584482599, 0.1466693902, 0.03555071679, 0.01289229172),
    (3.3, 0.6485350764, 0.1182860803, 0.01981862695, 0.005233088395),
    (4.75, 0.6393678455, 0.09268349997, 0.009145904475, 0.001459187111),
    (30.5, 0.6206635239, 0.04410021596, 0.0001915610446, 2.437661413e-07),
    (136.875, 0.6178779657, 0.03756386977, 4.087788959e-05, 8.317616127e-10),
]


@pytest.mark.parametrize(("degrees", "at_95", "at_97_5", "at_99_5"), PUBLISHED)
def test_quantiles_of_whole_degrees_are_the_published_ones(degrees, at_95, at_97_5, at_99_5):
    found = [student.quantile(share, degrees) for share in (0.95, 0.975, 0.995)]
    assert found == pytest.approx([at_95, at_97_5, at_99_5], abs=5.1e-4)


@pytest.mark.parametrize(("degrees", "at_95", "at_97_5", "at_99_5"), QUANTILES)
def test_quantiles_of_fractional_degrees(degrees, at_95, at_97_5, at_99_5):
    found = [student.quantile(share, degrees) for share in (0.95, 0.975, 0.995)]
    assert found == pytest.approx([at_95, at_97_5, at_99_5], rel=1e-8)


@pytest.mark.parametrize(("degrees", "beyond"), [(line[0], line[1:]) for line in TAILS])
def test_tails_of_fractional_degrees(degrees, beyond):
    assert [student.tails(t, degrees) for t in (0.5, 2.1, 4.24, 6.6)] == pytest.approx(beyond, rel=1e-8)
    assert [student.tails(-t, degrees) for t in (0.5, 2.1, 4.24, 6.6)] == pytest.approx(beyond, rel=1e-8)


def test_one_degree_is_cauchy_s_distribution():
    """Its tails have a closed form."""
    for t in (0.0, 0.3, 1.0, 12.7, 1e6):
        assert student.tails(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(t), abs=1e-15)


def test_nothing_lies_beyond_infinity():
    assert student.tails(math.inf, 2.5) == 0
    assert student.tails(0, 2.5) == 1
    assert student.quantile(0.5, 2.5) == 0
    assert student.quantile(0.05, 2.5) == -student.quantile(0.95, 2.5)
