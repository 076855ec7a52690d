"""`e3d describe`: what a recipe does, and what its network consists of."""

from typing import Annotated, Any

import typer

from flows.cli.session import AsJson, as_lines, show


def describe(
    recipe: Annotated[str | None, typer.Argument(help="A recipe; default: a list of all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the settings of a recipe; for a network also shapes, parameters and GMAC by layer."""
    from pipeline import recipes
    from storage.identity import plain

    found: dict[str, Any]
    if recipe is None:
        found = {
            "preprocess": {name: _says(make) for name, make in recipes.PREPROCESS.items()},
            "train": {name: _says(make) for name, make in recipes.TRAIN.items()},
        }
        text = as_lines(found)
    elif recipe in recipes.PREPROCESS:
        found = plain(recipes.preprocess_recipe(recipe))
        text = as_lines(found)
    else:
        chosen = recipes.train_recipe(recipe)
        network = _network(chosen.export3d.network)
        text = as_lines(plain(chosen)) + "\n" + _table(network)
        found = {**plain(chosen), "network": network}
    show(found, text, as_json=as_json)


def _says(recipe: object) -> str:
    return str(recipe.__doc__).splitlines()[0]


def _network(config: Any) -> dict[str, Any]:
    """Return the layers of a network with their totals."""
    from model.export3d.describe import describe as describe_network
    from storage.identity import plain

    described = describe_network(config)
    return {
        "layers": plain(described)["rows"],
        "parameters": described.parameters,
        "generator_parameters": described.generator_parameters,
        "gmac_per_frame": described.macs_per_frame / 1e9,
        "gmac_per_source": described.macs_per_source / 1e9,
    }


def _table(network: dict[str, Any]) -> str:
    lines = [f"{'layer':<32} {'output':<20} {'parameters':>12} {'GMAC':>8}"]
    for row in network["layers"]:
        shape = "x".join(map(str, row["output_shape"]))
        macs = row["macs"] / 1e9
        lines.append(f"{row['name']:<32} {shape:<20} {row['parameters']:>12,} {macs:>8.3f}")
    total, macs = network["parameters"], network["gmac_per_frame"]
    lines.append(f"{'total':<32} {'':<20} {total:>12,} {macs:>8.3f}")
    lines.append(f"of these the generator: {network['generator_parameters']:,} parameters")
    return "\n".join(lines)
