"""What-if studies: many runs of a described space, searches in it, and pictures of the results."""

from simulator.study.description import read_study, study_from_table
from simulator.study.execute import run_study
from simulator.study.space import Span, Study
from simulator.study.store import read_results

__all__ = ["Span", "Study", "read_results", "read_study", "run_study", "study_from_table"]
