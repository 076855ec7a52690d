"""What a size of Export3D costs, layer by layer, counted on the real modules.

The network runs once on the meta device: shapes and operations without memory or arithmetic.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from model.export3d.config import Export3DConfig
from model.export3d.network import Export3D

_SOURCE_LAYERS = ("generator.stem", "generator.merge_source", "generator.detail")


@dataclass(frozen=True)
class LayerRow:
    """One layer: its name in the network, output for one frame (without the batch), weights, work.

    `macs` are multiply-adds of convolutions and matrix products for one frame.
    """

    name: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int


@dataclass(frozen=True)
class Description:
    """All layers of a network in the order of the data, with totals."""

    rows: tuple[LayerRow, ...]

    @property
    def parameters(self) -> int:
        """Weights of the whole network, buffers not counted."""
        return sum(row.parameters for row in self.rows)

    @property
    def generator_parameters(self) -> int:
        """Weights of the tri-plane generator alone."""
        return sum(row.parameters for row in self.rows if row.name.startswith("generator."))

    @property
    def macs_per_frame(self) -> int:
        """Work for one frame when nothing is cached."""
        return sum(row.macs for row in self.rows)

    @property
    def macs_per_source(self) -> int:
        """The part of that work which a source's cached tokens save."""
        return sum(row.macs for row in self.rows if row.name in _SOURCE_LAYERS)


def describe(config: Export3DConfig) -> Description:
    """Return what the network of this configuration consists of and costs (Spec 2.4.3, 2.11)."""
    with torch.device("meta"):
        network = Export3D(config).eval()
        source_BCHW = torch.empty(1, 3, config.image_px, config.image_px)
        exp_BE = torch.empty(1, config.expression_dims)
        camera_B25 = torch.empty(1, 25)
    layers = _layers(network)
    shapes: dict[str, list[tuple[int, ...]]] = {name: [] for name in layers}
    for name, layer in layers.items():
        layer.register_forward_hook(partial(_note_shape, shapes[name]))
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(source_BCHW, exp_BE, camera_B25)
    operations = counter.get_flop_counts()
    rows = []
    for name, layer in layers.items():
        first, *rest = shapes[name]
        # The decoder runs once for each of the two sets of samples: its points add up.
        points = first[0] + sum(shape[0] for shape in rest)
        rows.append(
            LayerRow(
                name=name,
                output_shape=(points, *first[1:]) if rest else first,
                parameters=sum(parameter.numel() for parameter in layer.parameters()),
                macs=sum(operations[f"Export3D.{name}"].values()) // 2,
            )
        )
    return Description(tuple(rows))


def _layers(network: Export3D) -> dict[str, nn.Module]:
    """Return the layers of Spec 2.4.3 and 2.5 by their names, in the order of the data."""
    layers: dict[str, nn.Module] = {}
    for part, module in network.named_children():
        if part != "generator":
            layers[part] = module
            continue
        for name, layer in module.named_children():
            blocks = layer.named_children() if isinstance(layer, nn.ModuleList) else [("", layer)]
            layers |= {f"{part}.{name}.{place}".rstrip("."): block for place, block in blocks}
    return layers


def _note_shape(
    shapes: list[tuple[int, ...]],
    _layer: nn.Module,
    _inputs: object,
    output: Tensor | tuple[Tensor],
) -> None:
    shown = output if isinstance(output, Tensor) else output[0]
    shapes.append(tuple(shown.shape[1:]))
