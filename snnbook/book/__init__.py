"""What the book's notebooks import: pictures, figures with controls, source listings and exercises that check answers.

Nothing else in snnbook imports from here. A notebook starts with

    from snnbook.book import check, explore, figure, raster, show, style

and, where it shows results, also imports `growing`, `live`, `measured`, `on_file`, `scaling` and `sheet`.
"""

from ..results import style
from .canvas import figure
from .exercises import check
from .explore import explore
from .filed import growing, on_file, sheet
from .live import live
from .measured import measured
from .raster import raster
from .scaling import scaling
from .source import show

__all__ = [
    "check",
    "explore",
    "figure",
    "growing",
    "live",
    "measured",
    "on_file",
    "raster",
    "scaling",
    "sheet",
    "show",
    "style",
]
