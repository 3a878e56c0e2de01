"""Fits the scales of whole passes to measured cases and writes simulator/calibrations/forward.

    python -m benchmarks.forward_scales forward.csv.gz [RUNTIME ...]

Prints, for each runtime, the residuals on machines left out in turn, and for each machine those on
the cases that its fit did not see. To be run again when kernels or runtimes change.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from simulator.cases import read_cases, read_workload_table
from simulator.cli.console import progress_bar
from simulator.forward_fit import fit_all, write
from simulator.predict import Predictor


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("cases", type=Path)
    parser.add_argument("runtimes", nargs="*")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    asked = parser.parse_args()
    cases = read_cases(asked.cases)
    if asked.runtimes:
        cases = [case for case in cases if case.runtime in asked.runtimes]
    beside = asked.cases.parent / "workloads.json"
    predictor = Predictor(read_workload_table(beside) if beside.is_file() else {}, mode="zero-shot")
    with progress_bar("fitting", every=1) as progress:
        found = fit_all(cases, predictor, progress, asked.jobs)
    write(found)
    table = Table(title="ln(predicted / measured) of cases that were not fitted on")
    for heading in ("runtime", "machine", "cases", "10 %", "50 %", "90 %"):
        table.add_column(heading, justify="left" if heading in ("runtime", "machine") else "right")
    for runtime, machines in found.items():
        for key, scales in machines.items():
            if scales.log_residuals is not None:
                points = (f"{x:+.3f}" for x in scales.log_residuals)
                table.add_row(runtime, key, str(scales.held_out), *points)
    Console().print(table)


if __name__ == "__main__":
    main()
