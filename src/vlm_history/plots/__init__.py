"""Figures for the pages and the notebooks: in the reader's language, for light and dark."""

from vlm_history.plots.charts import Bar, bars, word_table
from vlm_history.plots.lines import Line, lines
from vlm_history.plots.output import Card, Shown, gallery, picture, show, table, values
from vlm_history.plots.style import DARK, LIGHT, Theme, language, say

__all__ = [
    "DARK",
    "LIGHT",
    "Bar",
    "Card",
    "Line",
    "Shown",
    "Theme",
    "bars",
    "gallery",
    "language",
    "lines",
    "picture",
    "say",
    "show",
    "table",
    "values",
    "word_table",
]
