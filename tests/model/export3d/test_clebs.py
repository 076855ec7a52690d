"""Expression encoder and contrast, in closed forms."""

import math

import pytest
import torch

from model.export3d.clebs import ImageEncoder, LeBS, clebs_loss, cosine_matrix
from model.export3d.sizes import export3d_256


def test_basis_is_orthonormal_and_spans_the_encoded_expressions(tiny_config):
    torch.manual_seed(0)
    lebs = LeBS(tiny_config)
    basis_DL = lebs.basis()
    torch.testing.assert_close(basis_DL.T @ basis_DL, torch.eye(3), atol=1e-6, rtol=0)
    exp_BE = torch.randn(5, 64)
    torch.testing.assert_close(lebs(exp_BE) @ basis_DL, lebs.coefficients(exp_BE))
    torch.testing.assert_close(lebs(exp_BE), lebs.coefficients(exp_BE) @ basis_DL.T)


def test_freezing_keeps_every_value_and_stops_learning(tiny_config):
    torch.manual_seed(0)
    lebs = LeBS(tiny_config)
    exp_BE = torch.randn(4, 64)
    before, basis_DL = lebs(exp_BE).detach(), lebs.basis().detach()
    assert not lebs.frozen
    frozen = lebs.freeze()
    assert frozen is lebs
    assert lebs.frozen
    assert torch.equal(lebs(exp_BE), before)
    assert torch.equal(lebs.basis(), basis_DL)
    assert not any(parameter.requires_grad for parameter in lebs.parameters())
    assert "basis_DL" in lebs.state_dict()
    assert "weight_DL" not in lebs.state_dict()
    assert torch.equal(lebs.freeze()(exp_BE), before)  # again: nothing happens


@pytest.mark.parametrize("frozen", [True, False])
def test_same_basis_after_save_and_load(tiny_config, frozen):
    torch.manual_seed(0)
    trained, fresh = LeBS(tiny_config), LeBS(tiny_config)
    trained.measure(torch.randn(30, 64))
    if frozen:
        trained.freeze()
        fresh.freeze()
    assert not torch.equal(trained.basis(), fresh.basis())
    fresh.load_state_dict(trained.state_dict())
    assert torch.equal(fresh.basis(), trained.basis())
    assert torch.equal(fresh.lambda_std_L, trained.lambda_std_L)


def test_statistics_standardise_the_set_they_come_from(tiny_config):
    torch.manual_seed(0)
    lebs = LeBS(tiny_config)
    exp_KE = torch.randn(200, 64) * 3 + 1
    lebs.measure(exp_KE)
    standard = lebs.standardise(lebs.coefficients(exp_KE))
    torch.testing.assert_close(standard.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(standard.std(dim=0), torch.ones(3), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="at least two"):
        lebs.measure(exp_KE[:1])


def test_gradient_reaches_weights_and_basis(tiny_config):
    torch.manual_seed(0)
    lebs = LeBS(tiny_config)
    target = torch.randn(6, tiny_config.expression_width)
    (lebs(torch.randn(6, 64)) - target).square().sum().backward()
    for name, parameter in lebs.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_equal_cosines_give_the_logarithm_of_the_negatives():
    equal = torch.full((4, 33, 33), 0.3)
    assert clebs_loss(equal, 0.07).item() == pytest.approx(math.log(32), abs=1e-5)
    assert clebs_loss(equal, 0.07, "include").item() == pytest.approx(math.log(33), abs=1e-5)


def test_hand_made_case():
    cosine = torch.tensor([[[0.5, 0.1], [-0.2, 0.4]]])
    # Rows are expressions: -0.5/tau + 0.1/tau and -0.4/tau - 0.2/tau, each with one negative.
    assert clebs_loss(cosine, 0.1).item() == pytest.approx((-4.0 - 6.0) / 2, abs=1e-5)
    included = (math.log(1 + math.exp(-4)) + math.log(1 + math.exp(-6))) / 2
    assert clebs_loss(cosine, 0.1, "include").item() == pytest.approx(included, abs=1e-5)


def test_best_possible_loss_is_below_zero():
    apart = torch.full((1, 33, 33), -1.0)
    apart[0].fill_diagonal_(1.0)
    assert clebs_loss(apart, 0.07).item() == pytest.approx(math.log(32) - 2 / 0.07, abs=1e-3)


def test_positive_stays_out_of_the_denominator():
    cosine = torch.zeros(1, 3, 3, requires_grad=True)
    clebs_loss(cosine, 0.5).backward()
    # Three expressions, tau 0.5: each positive's slope is exactly -1/tau, whatever its value.
    torch.testing.assert_close(cosine.grad[0].diagonal(), torch.full((3,), -2.0 / 3))
    torch.testing.assert_close(cosine.grad.sum(dim=-1), torch.zeros(1, 3), atol=1e-6, rtol=0)


def test_cosines_have_expressions_in_rows_and_ignore_lengths():
    expression = torch.tensor([[[2.0, 0.0], [0.0, 5.0]]])
    image = torch.tensor([[[3.0, 0.0], [1.0, 1.0]]])
    half = math.sqrt(0.5)
    torch.testing.assert_close(
        cosine_matrix(expression, image), torch.tensor([[[1.0, half], [0.0, half]]])
    )


def test_cosines_stay_single_precision_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cosine = cosine_matrix(torch.randn(1, 3, 4).bfloat16(), torch.randn(1, 3, 4))
        assert cosine.dtype == clebs_loss(cosine, 0.07).dtype == torch.float32


def test_image_encoder(tiny_config):
    torch.manual_seed(0)
    encoder = ImageEncoder(tiny_config)
    images = torch.randn(4, 3, 32, 32)
    assert encoder(images).shape == (4, tiny_config.expression_width)
    encoder(images).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
    encoder.eval()
    torch.testing.assert_close(encoder(images)[:1], encoder(images[:1]))


def test_paper_sizes():
    with torch.device("meta"):
        encoder, lebs = ImageEncoder(export3d_256()), LeBS(export3d_256())
    assert sum(p.numel() for p in encoder.parameters()) == pytest.approx(11.48e6, rel=1e-3)
    assert sum(p.numel() for p in lebs.parameters()) == pytest.approx(0.022e6, rel=0.02)
