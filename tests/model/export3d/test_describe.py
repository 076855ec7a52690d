"""Costs of the sizes, counted on the real modules, against the specification's tables."""

import pytest

from model.export3d.describe import describe
from model.export3d.network import Export3D
from model.export3d.sizes import (
    export3d_256,
    export3d_demo,
    export3d_mini,
    export3d_test,
)

PAPER_ROWS = {
    "generator.stem": ((256, 32, 32), 3.11),
    "generator.merge_source": ((256, 1024), 2.36),
    "generator.blocks.4": ((256, 1024), 9.47),
    "generator.spread_source": ((256, 32, 32), 0),
    "generator.grow": ((128, 64, 64), 0.30),
    "generator.grow_more": ((128, 128, 128), 0.30),
    "generator.fuse": ((128, 128, 128), 0.59),
    "generator.merge_planes": ((4096, 1024), 1.18),
    "generator.refine": ((4096, 1024), 12.62),
    "generator.spread_planes": ((256, 128, 128), 0),
    "generator.to_planes": ((96, 128, 128), 1.44),
    "decoder": ((393_216, 32), 0.0043),
    "superres": ((3, 256, 256), 0.296),
}


def test_paper_size():
    described = describe(export3d_256())
    rows = {row.name: row for row in described.rows}
    for name, (shape, parameters_m) in PAPER_ROWS.items():
        assert rows[name].output_shape == shape, name
        assert rows[name].parameters / 1e6 == pytest.approx(parameters_m, abs=0.006), name
    assert described.generator_parameters / 1e6 == pytest.approx(69.24, rel=0.001)
    assert described.macs_per_frame / 1e9 == pytest.approx(115, rel=0.01)
    assert described.macs_per_source / 1e9 == pytest.approx(6.3, rel=0.01)
    assert rows["generator.refine"].macs / 1e9 == pytest.approx(40.9, rel=0.01)
    assert rows["decoder"].macs / 1e9 == pytest.approx(1.64, rel=0.01)
    assert rows["superres"].macs / 1e9 == pytest.approx(10.3, rel=0.01)


@pytest.mark.parametrize("size", [export3d_test, export3d_demo, export3d_mini])
def test_rows_hold_every_parameter_of_the_network(size):
    described = describe(size())
    network = Export3D(size())
    assert described.parameters == sum(p.numel() for p in network.parameters())
    assert all(row.macs > 0 for row in described.rows)


def test_small_sizes_are_small():
    assert 0.6 <= describe(export3d_test()).generator_parameters / 1e6 < 0.7
    assert describe(export3d_demo()).macs_per_frame < 0.7e9


def test_mini_has_the_layers_of_the_paper_at_a_sixth_of_the_work():
    paper, mini = describe(export3d_256()), describe(export3d_mini())
    assert [row.name for row in mini.rows] == [row.name for row in paper.rows]
    rows = {row.name: row for row in mini.rows}
    assert rows["generator.to_planes"].output_shape == (96, 128, 128)
    assert rows["superres"].output_shape == (3, 256, 256)
    assert rows["decoder"].output_shape == (64 * 64 * 48, 32)
    assert mini.parameters / 1e6 == pytest.approx(11.67, abs=0.01)
    assert mini.macs_per_frame / 1e9 == pytest.approx(17.40, abs=0.01)
    assert (mini.macs_per_frame - mini.macs_per_source) / 1e9 == pytest.approx(16.45, abs=0.01)
