"""Blocks of the generator."""

import pytest
import torch
from torch.nn import functional

from model.export3d.blocks import (
    Attention,
    Block,
    CrossAttentionNorm,
    EAdaLN,
    MixFFN,
    OverlapPatchMerge,
    map_to_tokens,
    tokens_to_map,
)

WIDTH, CONDITION, SIDE = 32, 8, 4


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def tokens():
    return torch.randn(2, SIDE * SIDE, WIDTH) * 3 + 1


def plain_norm(tokens_BNC):
    return functional.layer_norm(tokens_BNC, (WIDTH,), eps=1e-6)


@pytest.mark.parametrize("form", ["bias_one", "one_plus"])
def test_eadaln_starts_as_layer_norm(form):
    x, condition = tokens(), torch.randn(2, 1, CONDITION)
    assert torch.equal(EAdaLN(WIDTH, CONDITION, form)(x, condition), plain_norm(x))


@pytest.mark.parametrize("form", ["bias_one", "one_plus"])
def test_eadaln_modulates_every_token_alike(form):
    norm = EAdaLN(WIDTH, CONDITION, form)
    torch.nn.init.normal_(norm.modulation.weight)
    x = tokens()
    condition = torch.randn(2, 1, CONDITION, requires_grad=True)
    out = norm(x, condition)
    scale, shift = (norm.modulation(condition) + 0).chunk(2, dim=-1)
    if form == "one_plus":
        scale = 1 + scale
    torch.testing.assert_close(out, scale * plain_norm(x) + shift)
    other = norm(x, condition + 0.1)
    assert ((out - other).abs().amax(dim=-1) > 1e-3).all()  # every token of every person
    out.square().sum().backward()
    assert (condition.grad.abs() > 0).all()


def test_one_person_does_not_condition_another():
    norm = EAdaLN(WIDTH, CONDITION)
    torch.nn.init.normal_(norm.modulation.weight)
    x, condition = tokens(), torch.randn(2, 1, CONDITION)
    changed = condition.clone()
    changed[1] += 1
    assert torch.equal(norm(x, condition)[0], norm(x, changed)[0])


def test_cross_attention_starts_as_layer_norm_and_learns_places():
    norm = CrossAttentionNorm(WIDTH, CONDITION, heads=2)
    x, condition = tokens(), torch.randn(2, 3, CONDITION)
    torch.testing.assert_close(norm(x, condition), plain_norm(x))
    for layer in (norm.query, norm.key_value, norm.out):
        torch.nn.init.normal_(layer.weight)
    added = norm(x, condition) - plain_norm(x)
    assert added.std(dim=1).max() > 1e-2  # three vectors to attend to: places differ
    single = norm(x, condition[:, :1]) - plain_norm(x)
    assert single.std(dim=1).max() < 1e-4  # one vector: the same for all, as the spec warns


def test_attention_equals_its_formula():
    attention = Attention(WIDTH, heads=4, side=SIDE, reduction=1)
    for layer in (attention.query, attention.key_value, attention.out):
        torch.nn.init.normal_(layer.weight, std=0.2)
    x = tokens()
    q, k, v = attention.query(x), *attention.key_value(x).chunk(2, dim=-1)
    heads = []
    for part in range(4):
        columns = slice(8 * part, 8 * part + 8)
        scores = q[..., columns] @ k[..., columns].transpose(1, 2) * 8**-0.5
        heads.append(scores.softmax(dim=-1) @ v[..., columns])
    torch.testing.assert_close(attention(x), attention.out(torch.cat(heads, dim=-1)))


def test_reduced_attention_keeps_the_tokens_but_sees_patches():
    attention = Attention(WIDTH, heads=4, side=SIDE, reduction=2)
    seen = []
    attention.key_value.register_forward_hook(lambda _m, _i, out: seen.append(out.shape))
    assert attention(tokens()).shape == (2, 16, WIDTH)
    assert seen == [(2, 4, 2 * WIDTH)]


def test_mix_ffn_knows_neighbours_but_not_further():
    ffn = MixFFN(WIDTH, ratio=2, side=SIDE)
    x = torch.zeros(1, 16, WIDTH)
    changed = x.clone()
    changed[0, 0] = 5.0  # top left
    reached = (ffn(x) != ffn(changed)).any(dim=-1).view(SIDE, SIDE)
    assert reached[:2, :2].all()
    assert not reached[2:].any()
    assert not reached[:, 2:].any()


def test_block_adds_to_its_input():
    block = Block(
        (EAdaLN(WIDTH, CONDITION), EAdaLN(WIDTH, CONDITION)),
        Attention(WIDTH, 4, SIDE, 1),
        MixFFN(WIDTH, 2, SIDE),
    )
    for layer in (block.attention.out, block.ffn.narrow):
        torch.nn.init.zeros_(layer.weight)
    x = tokens()
    assert torch.equal(block(x, torch.randn(2, 1, CONDITION)), x)


def test_patch_merge_and_layouts():
    merged = OverlapPatchMerge(3, WIDTH)(torch.randn(2, 3, 8, 8))
    assert merged.shape == (2, 16, WIDTH)
    torch.testing.assert_close(merged.mean(dim=-1), torch.zeros(2, 16), atol=1e-5, rtol=0)
    x = tokens()
    assert torch.equal(map_to_tokens(tokens_to_map(x, SIDE)), x)
    assert torch.equal(tokens_to_map(x, SIDE)[0, :, 1, 2], x[0, SIDE + 2])
