"""``hydropress inspect``."""

from hydropress.cli.console import emit, guarded, show
from hydropress.cli.options import Json, Model
from hydropress.cli.tables import inspection_table


@guarded()
def inspect_command(model: Model, json: Json = False) -> None:
    """Show each layer's order, poles and Hankel singular values, and how far it can be reduced."""
    from hydropress.data.shipped import find_model
    from hydropress.evaluation.inspection import inspect_model
    from hydropress.evaluation.metrics import count_parameters, count_ssm_parameters
    from hydropress.models.checkpoint import load

    path = find_model(model)
    loaded = load(path)
    layers = inspect_model(loaded)
    total, ssm = count_parameters(loaded), count_ssm_parameters(loaded)
    if json:
        emit(
            {
                "model": str(path),
                "total_parameters": total,
                "ssm_parameters": ssm,
                "layers": [layer.to_dict() for layer in layers],
            }
        )
        return
    show(
        f"{path}: {total:,} parameters, {ssm:,} of them in {len(layers)} SSM layers",
        inspection_table(layers),
    )
