"""Banks are those of the layers, and drawn from their seed alone."""

import torch

from hydropress.bench.banks import (
    bank,
    both_directions,
    joined,
    mixed_bank,
    new_layer,
    trained_layers,
)


def test_the_discrete_bank_is_the_continuous_one_sampled():
    layer = new_layer(3, seed=5, initialization="legs", state_size=8)
    discrete, continuous = bank(layer), bank(layer, "continuous")
    step = layer.log_step.detach().double().exp()
    sampled = continuous.exponents * step[:, None]
    torch.testing.assert_close(discrete.exponents, sampled, rtol=1e-12, atol=0)
    # A zero-order hold keeps the response to a constant, G(1) = G(0).
    constant = discrete.transfer_function(torch.ones(1)) - discrete.D[:, None]
    held = continuous.transfer_function(torch.zeros(1))
    torch.testing.assert_close(constant, held, rtol=1e-10, atol=1e-12)


def test_a_trained_bank_has_the_kernels_of_its_layer():
    layer = trained_layers()[2]
    kernel = bank(layer).impulse_response(64)
    expected = layer.kernel(64)[0].detach().double()
    torch.testing.assert_close(kernel, expected, rtol=1e-5, atol=1e-6)


def test_a_new_layer_depends_on_its_seed_only():
    torch.manual_seed(1)
    first, state = new_layer(2, seed=3), torch.random.get_rng_state()
    torch.manual_seed(2)
    second = new_layer(2, seed=3)
    assert bool((first.C == second.C).all())
    assert not bool((first.C == new_layer(2, seed=4).C).all())
    torch.manual_seed(1)
    assert bool((torch.random.get_rng_state() == state).all())


def test_a_mixed_bank_has_all_kinds_and_every_trained_channel_of_a_large_one():
    small, large = mixed_bank(18, seed=0), mixed_bank(2048, seed=0)
    assert (len(small.D), len(large.D)) == (18, 2048)
    trained = joined([bank(layer) for layer in trained_layers()])
    assert bool((large.exponents[: len(trained.D)] == trained.exponents).all())
    # The rest: Lin, Inv, LegS, whose frequencies over decays differ.
    ratios = [float((large.exponents[k].imag / large.decay[k]).max()) for k in (300, 1200, 1900)]
    assert len({round(ratio) for ratio in ratios}) == 3


def test_both_directions_answer_as_the_layer_does():
    layer = new_layer(3, 2, state_size=8, bidirectional=True)
    stacked = both_directions(layer).impulse_response(20)
    assert stacked.shape == (3, 2, 1, 20)
    banks = layer.system()
    expected = banks.impulse_response(20)
    for direction in (0, 1):
        torch.testing.assert_close(stacked[:, direction, 0], expected[direction])
