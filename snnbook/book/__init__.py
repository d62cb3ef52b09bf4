"""What the book needs beside the package: pictures, slider figures, source listings and checked exercises.

Nothing else in snnbook imports from here. A notebook starts with

    from snnbook.book import check, explore, figure, live, measured, show, style
"""

from . import style
from .canvas import figure
from .exercises import check
from .explore import explore
from .live import live
from .measured import measured
from .source import show

__all__ = ["check", "explore", "figure", "live", "measured", "show", "style"]
