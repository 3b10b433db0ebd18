"""Reports: one self-contained HTML page drawn from saved results; nothing is recomputed."""

from hydropress.report.html import render_report, write_report

__all__ = ["render_report", "write_report"]
