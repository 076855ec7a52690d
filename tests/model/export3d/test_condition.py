"""Edited coefficients of the basis as the generator's condition."""

import dataclasses

import pytest
import torch

from model.export3d.condition import ExpressionCondition

CHOICES = [
    {},
    {"expression": "e2e"},
    {"standardise_expression": True},
    {"conditioning": "cross_attention", "cross_attention_tokens": "basis"},
    {"conditioning": "cross_attention", "cross_attention_tokens": "1"},
    {"conditioning": "cross_attention", "cross_attention_tokens": "64"},
]


def made(config, changes):
    torch.manual_seed(3)
    condition = ExpressionCondition(dataclasses.replace(config, **changes))
    with torch.no_grad():
        condition.encoder.measure(torch.randn(20, 64))
    return condition


@pytest.mark.parametrize("changes", CHOICES, ids=str)
def test_coefficients_that_nobody_edited_condition_as_their_expression(tiny_config, changes):
    condition = made(tiny_config, changes)
    exp = torch.randn(4, 64)
    lambda_BL = condition.lebs().coefficients(exp)
    assert torch.equal(condition.from_coefficients(lambda_BL), condition(exp))


@pytest.mark.parametrize("changes", CHOICES[:3], ids=str)
def test_an_edit_moves_the_condition_along_its_basis_vector(tiny_config, changes):
    condition = made(tiny_config, changes)
    encoder = condition.lebs()
    lambda_BL = encoder.coefficients(torch.randn(1, 64))
    edited_BL = lambda_BL.clone()
    edited_BL[0, 1] += 2.5
    moved = condition.from_coefficients(edited_BL) - condition.from_coefficients(lambda_BL)
    scale = encoder.lambda_std_L[1] if changes.get("standardise_expression") else 1.0
    expected = 2.5 / scale * encoder.basis()[:, 1]
    torch.testing.assert_close(moved[0, 0], expected, atol=1e-5, rtol=1e-5)


def test_an_encoder_without_a_basis_has_nothing_to_edit(tiny_config):
    condition = ExpressionCondition(dataclasses.replace(tiny_config, expression="direct"))
    with pytest.raises(ValueError, match="no basis"):
        condition.from_coefficients(torch.zeros(1, 3))
