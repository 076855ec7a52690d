"""t-SNE on points whose neighbours are known."""

import numpy as np
import pytest

from model.evaluation.tsne import _neighbour_shares, _slope, tsne


def groups(count=6, points=10, dims=20):
    rng = np.random.default_rng(0)
    centres = 4 * rng.normal(size=(count, 1, dims))
    points_ND = (centres + 0.5 * rng.normal(size=(count, points, dims))).reshape(-1, dims)
    return points_ND, np.repeat(np.arange(count), points)


def nearest(places):
    distance = np.linalg.norm(places[:, None] - places, axis=-1)
    np.fill_diagonal(distance, np.inf)
    return distance.argmin(axis=1)


def test_groups_stay_together_and_apart():
    points_ND, group_N = groups()
    places_N2 = tsne(points_ND, 8)
    assert places_N2.shape == (60, 2)
    assert (group_N[nearest(places_N2)] == group_N).all()
    centre = np.stack([places_N2[group_N == group].mean(axis=0) for group in range(6)])
    spread = max(places_N2[group_N == group].std(axis=0).max() for group in range(6))
    apart = np.linalg.norm(centre[:, None] - centre, axis=-1)
    assert apart[~np.eye(6, dtype=bool)].min() > 3 * spread


def test_groups_of_chance_are_not_made_up():
    rng = np.random.default_rng(1)
    group_N = rng.integers(0, 6, 100)
    places_N2 = tsne(rng.normal(size=(100, 10)), 15)
    assert (group_N[nearest(places_N2)] == group_N).mean() < 0.4


def test_the_same_points_give_the_same_places():
    points_ND, _ = groups()
    assert np.array_equal(tsne(points_ND, 8), tsne(points_ND.copy(), 8))


def test_places_do_not_depend_on_where_the_points_lie_or_how_large_they_are():
    """Only ratios of distances matter; rounding decides the rest, so few steps are compared."""
    points_ND, _ = groups()
    shares = [_neighbour_shares(_squared(scale * points_ND + 7), 8) for scale in (1, 1000)]
    np.testing.assert_allclose(*shares, atol=1e-9)


def test_each_point_has_the_wanted_number_of_neighbours():
    """On a ring all points are alike, so that making shares symmetric changes nothing."""
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    share_NN = _neighbour_shares(_squared(np.stack([np.cos(turn), np.sin(turn)], axis=1)), 8)
    assert share_NN.sum() == pytest.approx(1)
    own = share_NN * 40
    entropy_N = -(own * np.log(np.clip(own, 1e-300, None))).sum(axis=1)
    np.testing.assert_allclose(np.exp(entropy_N), 8, rtol=1e-3)


def test_the_slope_is_that_of_the_divergence():
    rng = np.random.default_rng(2)
    wanted_NN = _neighbour_shares(_squared(rng.normal(size=(12, 5))), 4)
    places_N2 = rng.normal(size=(12, 2))

    def divergence(places):
        near = 1 / (1 + _squared(places))
        np.fill_diagonal(near, 0)
        share = near / near.sum()
        off = ~np.eye(12, dtype=bool)
        return (wanted_NN[off] * np.log(wanted_NN[off] / share[off])).sum()

    slope_N2, step = np.zeros((12, 2)), 1e-6
    for place in np.ndindex(12, 2):
        moved = np.zeros((12, 2))
        moved[place] = step
        slope_N2[place] = (divergence(places_N2 + moved) - divergence(places_N2 - moved)) / 2 / step
    np.testing.assert_allclose(_slope(places_N2, wanted_NN), slope_N2, atol=1e-7)


def test_equal_points_and_few_dimensions_are_placed():
    assert np.isfinite(tsne(np.zeros((10, 3)), 3)).all()
    assert np.isfinite(tsne(np.arange(10.0)[:, None], 3)).all()


@pytest.mark.parametrize("perplexity", [0.5, 9, 20])
def test_a_perplexity_that_the_points_cannot_have(perplexity):
    with pytest.raises(ValueError, match="allowed is from 1 to below 9"):
        tsne(np.zeros((10, 2)), perplexity)


def _squared(points):
    return ((points[:, None] - points) ** 2).sum(axis=-1)
