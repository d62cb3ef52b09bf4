"""What each built page must have, counted by hand and not from the page, so that a missing widget is a failure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """Counts of one page.

    Args:
        explores: figures with controls
        figures: still pictures
        rasters: rasters to edit
        listings: listings of the package's source
        exercises: numbered exercises
        math: whether the page has equations
    """

    explores: int = 0
    figures: int = 0
    rasters: int = 0
    listings: int = 0
    exercises: int = 0
    math: bool = False


PAGES = {
    "index": Page(rasters=1),
    "01_spikes_in_time": Page(explores=3, figures=2, listings=3, exercises=4, math=True),
    "02_learning_by_moving_spikes": Page(explores=6, figures=2, listings=2, exercises=4, math=True),
    "03_rate_losses_keep_time": Page(explores=2, listings=1, exercises=3, math=True),
    "04_counting_and_enhanced": Page(explores=2, figures=5, listings=2, exercises=4, math=True),
    "05_first_spikes_zero_sum": Page(explores=2, figures=1, listings=1, exercises=4, math=True),
    "06_six_losses_one_train": Page(explores=2, rasters=1, listings=4, exercises=5, math=True),
    "07_thresholds_that_learn": Page(explores=3, listings=3, exercises=5, math=True),
    "08_training_for_real": Page(explores=1, figures=2, listings=1, exercises=5, math=True),
    "09_the_tables": Page(explores=3, figures=6, listings=1, exercises=4, math=True),
    "10_deciding_early": Page(explores=2, figures=1, listings=1, exercises=4, math=True),
    "sheet": Page(math=True),
    "notation": Page(math=True),
    "disagreements": Page(explores=1, figures=2, math=True),
    "reproduce": Page(math=True),
    "own": Page(math=True),
    "teach": Page(math=True),
    "publish": Page(),
    "api": Page(),
    "api_heart": Page(),
    "api_ops": Page(),
    "api_datasets": Page(),
    "api_training": Page(),
    "api_records": Page(),
    "api_results": Page(),
    "api_cli": Page(),
    "api_book": Page(),
    "glossary": Page(math=True),
    "execution_times": Page(),
    "references": Page(),
}
