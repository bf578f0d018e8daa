# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Weights and copies: properties on any clusterings, a brute-force reference and skewed mixtures."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from lerobot_wallwm.processors.balance.balancer import (
    BalancerConfig,
    balance_figures,
    balanced_copies,
    balanced_weights,
    expected_copies,
    gini,
    normalised_entropy,
)


@st.composite
def mixtures(draw, clusterings=(1, 2, 3)):
    """Labels of each clustering, with gaps and negative numbers, and rows of each event."""
    count, kinds = draw(st.integers(1, 60)), draw(st.sampled_from(clusterings))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    skew = draw(st.floats(0.2, 3))
    labels = [(rng.pareto(skew, count) * 2).astype(np.int64) % 9 * 7 - 3 for _ in range(kinds)]
    if kinds > 1 and draw(st.booleans()):
        labels[1] = np.where(rng.random(count) < 0.7, labels[0], labels[1])
    return labels, rng.integers(1, 40, count)


configs = st.builds(
    BalancerConfig,
    temperature=st.sampled_from([1.0, 2.0, 20.0, np.inf]),
    cap=st.sampled_from([1.0, 1.5, 5.0, 50.0]),
    growth=st.sampled_from([1.0, 2.5, 6.0]),
    min_copies=st.sampled_from([0, 1]),
)


@given(mixtures(), configs)
def test_weights_are_positive_capped_of_mean_one_and_larger_for_the_rarer_cluster(mixture, config):
    labels, sizes = mixture
    weights = balanced_weights(labels, sizes, config)
    assert np.isfinite(weights).all() and (weights > 0).all()
    assert weights.max() <= config.cap * (1 + 1e-12)
    assert weights @ sizes == pytest.approx(sizes.sum(), rel=1e-9)
    table = np.stack(labels)
    for m, own in enumerate(labels):
        size = {label: sizes[own == label].sum() for label in np.unique(own)}
        others = np.delete(table, m, axis=0)
        for i in range(len(own)):
            same = (others == others[:, i : i + 1]).all(axis=0)
            rarer = same & (np.array([size[label] for label in own]) < size[own[i]])
            assert (weights[rarer] >= weights[i] * (1 - 1e-9)).all()


@given(mixtures(), configs, st.integers(0, 2**20))
def test_order_of_events_and_names_of_clusters_do_not_matter(mixture, config, seed):
    labels, sizes = mixture
    weights = balanced_weights(labels, sizes, config)
    order = np.random.default_rng(seed).permutation(len(sizes))
    np.testing.assert_array_equal(
        balanced_weights([own[order] for own in labels], sizes[order], config), weights[order]
    )
    renamed = [1000 - own * 3 for own in labels]
    np.testing.assert_allclose(balanced_weights(renamed, sizes, config), weights, rtol=1e-6)


@given(mixtures(clusterings=(1,)), st.sampled_from([1.0, 3.0, np.inf]))
def test_one_clustering_equals_the_formula(mixture, temperature):
    """With one clustering the weight is a power of the cluster's size."""
    (own,), sizes = mixture
    weights = balanced_weights([own], sizes, BalancerConfig(temperature=temperature, cap=1e6))
    size = np.array([sizes[own == label].sum() for label in own])
    plain = size ** (-0.85 * (1 - 1 / temperature))
    np.testing.assert_allclose(weights, plain * sizes.sum() / (plain @ sizes), rtol=1e-9)


@given(mixtures(clusterings=(1, 2)), st.floats(1.0, 10))
def test_the_cap_equals_a_plain_loop(mixture, cap):
    """Cut, hand what was cut off to the others in proportion, and again until nothing is above the cap."""
    labels, sizes = mixture
    config = BalancerConfig(cap=1e9)
    weights = balanced_weights(labels, sizes, config)
    for _ in range(1000):
        over = weights >= cap
        held = cap * sizes[over].sum()
        free = (weights * sizes)[~over].sum()
        factor = (sizes.sum() - held) / free if free > 0 else 1.0
        new = np.where(over, cap, weights * factor)
        if np.allclose(new, weights, rtol=1e-14):
            break
        weights = new
    config.cap = cap
    np.testing.assert_allclose(balanced_weights(labels, sizes, config), weights, rtol=1e-6)


@given(mixtures(), configs)
def test_copies_meet_their_expectation(mixture, config):
    labels, sizes = mixture
    weights = balanced_weights(labels, sizes, config)
    expected = expected_copies(weights, sizes, config)
    assert (expected >= config.min_copies).all()
    assert expected @ sizes == pytest.approx(config.growth * sizes.sum(), rel=1e-9)
    above = expected > config.min_copies * (1 + 1e-9)
    if above.any():  # proportional to the weights where the floor does not hold them
        ratio = expected[above] / weights[above]
        assert ratio.max() <= ratio.min() * (1 + 1e-9)
    copies = balanced_copies(weights, labels, sizes, config, seed=3)
    assert copies.dtype == np.int64 and (copies >= config.min_copies).all()
    assert (np.abs(copies - expected) < 1 + 1e-9).all()
    _, cell = np.unique(np.stack(labels), axis=1, return_inverse=True)
    off = np.bincount(cell.ravel(), copies - expected)
    assert (np.abs(off) < 1 + 1e-6).all()
    np.testing.assert_array_equal(copies, balanced_copies(weights, labels, sizes, config, seed=3))


def test_copies_are_unbiased():
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 3, 20), rng.integers(0, 2, 20)]
    config = BalancerConfig(growth=1.7, min_copies=0)
    weights = balanced_weights(labels)
    mean = np.mean([balanced_copies(weights, labels, None, config, s) for s in range(1000)], axis=0)
    # A copy more or less has a standard deviation of at most 0.5; 5 of those of the mean.
    np.testing.assert_allclose(mean, expected_copies(weights, None, config), atol=5 * 0.5 / np.sqrt(1000))


def zipf(rng, clusters, count):
    share = 1 / np.arange(1, clusters + 1)
    return rng.choice(clusters, count, p=share / share.sum())


@pytest.mark.parametrize("together", [0.0, 0.5, 1.0])
def test_a_skewed_mixture_is_drawn_evenly_in_both_clusterings(together):
    """The issue's figures, for copies as for weights; `together` is how often both clusterings say the same."""
    rng = np.random.default_rng(1)
    count, clusters = 100_000, 1000
    vl = zipf(rng, clusters, count)
    action = np.where(rng.random(count) < together, vl, zipf(rng, clusters, count))
    weights = balanced_weights([vl, action])
    draws = {"weights": weights, "copies": balanced_copies(weights, [vl, action])}
    for name, after in draws.items():
        for own in (vl, action):
            figures = balance_figures(own, np.ones(count), after)
            assert figures["entropy_before"] < 0.8
            assert figures["entropy_after"] >= 0.97, (name, figures)
            assert figures["rarest_decile_gain"] >= 5, (name, figures)


@given(st.lists(st.integers(1, 50), min_size=2, max_size=40))
def test_even_draws_gain_what_the_figures_say_there_is_to_gain(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    figures = balance_figures(labels, np.ones(len(labels)), 1 / np.repeat(sizes, sizes))
    assert figures["rarest_decile_gain"] == pytest.approx(figures["rarest_decile_even_gain"])
    assert figures["entropy_after"] == pytest.approx(1)


def test_contradicting_clusterings_get_moderate_weights():
    """All events of rare cluster 1 lie in the common cluster 0 of the other clustering, and the other way round."""
    vl = np.repeat([0, 0, 1], [5, 90, 5])
    action = np.repeat([1, 0, 0], [5, 90, 5])
    weights = balanced_weights([vl, action], None)
    assert weights.max() / weights.min() < 1e3
    for own in (vl, action):
        figures = balance_figures(own, np.ones(100), weights)
        assert figures["entropy_after"] > 0.9 > 0.3 > figures["entropy_before"]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30).filter(any))
def test_gini_equals_its_definition_and_entropy_at_its_ends(shares):
    shares = np.array(shares)
    pairs = np.abs(shares[:, None] - shares[None]).mean()
    assert gini(shares) == pytest.approx(pairs / (2 * shares.mean()), abs=1e-12)
    assert normalised_entropy(np.ones(7)) == pytest.approx(1)
    assert normalised_entropy([1, 0, 0]) == pytest.approx(0)


@pytest.mark.parametrize(
    "flag", [{"temperature": 0.5}, {"cap": 0.9}, {"growth": 0.5}, {"min_copies": -1}, {"cap": np.nan}]
)
def test_parameters_out_of_range(flag):
    with pytest.raises(ValueError, match=f"--balancer.{next(iter(flag))}"):
        BalancerConfig(**flag)


def test_wrong_labels_and_sizes():
    for labels in ([], [[]], [[0, 1], [0]]):
        with pytest.raises(ValueError, match="label"):
            balanced_weights(labels)
    with pytest.raises(ValueError, match="integers"):
        balanced_weights([[0.5]])
    for sizes in ([0, 1], [np.nan, 1], [1]):
        with pytest.raises(ValueError, match="sizes"):
            balanced_weights([[0, 1]], sizes)
