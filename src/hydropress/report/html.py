"""The report as one HTML page that needs no network."""

import json
import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hydropress.atomic import write_atomically
from hydropress.report.figures import METRICS, SIZES, legend, size_figures
from hydropress.report.layers import model_figures
from hydropress.report.methods import Palette
from hydropress.report.records import DETAILS, RESULTS, check_details, check_results, read_json
from hydropress.report.tables import headline, moment, recovery, seconds, table_rows

TEMPLATES = Path(__file__).parent / "templates"
REPORT = "report.html"


def render_report(results: list[dict[str, Any]], details: dict[str, Any]) -> str:
    """Render saved results as one self-contained HTML page.

    Parameters
    ----------
    results
        One row per evaluated model: ``method``, ``calibrated``, ``order``, ``ratio``,
        ``ssm_parameters``, ``total_parameters``, ``relative_h2_error``, ``accuracy``,
        ``agreement`` (fractions from 0 to 1) and ``finetuned`` (false, true or a description).
        All but ``method`` and ``order`` may be None.
    details
        ``title``, ``command``, ``versions``, ``models``; optional ``subtitle``, ``created``,
        ``seconds``, ``data``, ``notes``.  A model holds its layers' poles, responses and errors.

    Returns
    -------
    str
        The page, plotly's script included; a content security policy forbids it any request.

    Raises
    ------
    FileFormatError
        If a record is not what the report can draw.
    """
    check_results(results)
    check_details(details)
    models = details["models"]
    palette = Palette([*results, *models])
    figures = size_figures(results, palette)
    drawn = [model_figures(model, palette) for model in models if model.get("layers")]
    payload = {"sizes": figures, "models": drawn}
    return render_page(
        "report.html.j2",
        payload,
        details={"subtitle": "", "data": "", "notes": []} | details,
        version=str(details["versions"].get("hydropress", "")),
        created=moment(details.get("created") or ""),
        duration=seconds(details.get("seconds")),
        headline=headline(results, palette),
        rows=table_rows(results, palette),
        legend=legend(results, palette),
        recovered=any(recovery(row) for row in results),
        metrics=[(key, name) for key, name in METRICS.items() if _has(figures, key)],
        sizes=[(key, name) for key, name in SIZES.items() if _has(figures, key)],
        models=drawn,
        certified=any(layer["certificate"] for model in drawn for layer in model["layers"]),
    )


def render_page(template: str, payload: dict[str, Any], **values: Any) -> str:
    """Fill a template with values, the data of its plots and the library that draws them."""
    from plotly.offline import get_plotlyjs  # slow to import, and only needed here

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(
        **values, payload=Markup(script_json(payload)), plotly=Markup(get_plotlyjs())
    )


def write_report(directory: Path) -> Path:
    """Render the results saved in a directory, beside them.

    Parameters
    ----------
    directory
        Holds ``results.json`` and ``details.json``.

    Returns
    -------
    Path
        The page, ``report.html`` in the same directory, written in one step.

    Raises
    ------
    DataNotFoundError
        If one of the files is missing.
    FileFormatError
        If one of them is malformed.
    """
    folder = Path(directory)
    results = check_results(read_json(folder / RESULTS), str(folder / RESULTS))
    details = check_details(read_json(folder / DETAILS), str(folder / DETAILS))
    page = render_report(results, details)
    path = folder / REPORT
    write_atomically(path, page)
    return path


def script_json(value: Any) -> str:
    """Write JSON that can stand inside a script element: it cannot close it.

    Parameters
    ----------
    value
        Dictionaries, lists, texts, numbers; what is not finite becomes null.

    Returns
    -------
    str
        JSON in ASCII without ``<``, ``>`` or ``&``.
    """
    text = json.dumps(_finite(value), separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _has(figures: dict[str, Any], key: str) -> bool:
    return any(key in name.split(":") for name in figures)
