"""The command `moments calibrate`: a machine's kernels fitted to measured cases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from simulator.calibrate import Calibrated


def calibrate(
    cases: Annotated[
        Path | None, typer.Argument(help="Measured operators: .csv or .csv.gz")
    ] = None,
    on: Annotated[
        str | None, typer.Option(metavar="MACHINE", help="Machine: a name or a .toml file")
    ] = None,
    host: Annotated[
        bool, typer.Option("--host", help="Measure the machine that this runs on (about a minute)")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the machine, for --on FILE; with --host, --device a folder  [out]",
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1.0, max=3600.0, help="--host: time for all repetitions")
    ] = 45.0,
    short: Annotated[
        bool, typer.Option("--short", help="--host: a quarter of the timings, for a first look")
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(metavar="cuda", help="Measure the CUDA GPU of this machine, with PyTorch"),
    ] = None,
    library: Annotated[
        str | None,
        typer.Option(help="--host: measure torch, numpy or onnxruntime  [torch, else numpy]"),
    ] = None,
) -> None:
    """Fit the kernels of a machine to a few of the measured CASES, or to its own with --host."""
    from workloads.errors import InputError

    if device is not None:
        from simulator.cli.calibrate_cuda import calibrate_this_device

        if cases is not None or host:
            raise InputError("--device measures its own cases; leave out CASES and --host")
        calibrate_this_device(device, out or Path("out"), on)
    elif host:
        from simulator.cli.calibrate_host import calibrate_this_machine

        if cases is not None or on is not None:
            raise InputError("--host measures its own cases on this machine; leave out CASES, --on")
        calibrate_this_machine(out or Path("out"), seconds, short, library)
    elif cases is None or on is None:
        raise InputError(
            "nothing to calibrate; expected CASES and --on MACHINE, --host or --device"
        )
    else:
        _calibrate_cases(cases, on, out)


def _calibrate_cases(cases: Path, on: str, out: Path | None) -> None:
    from hardware_profiles import load_profile
    from simulator.calibrate import calibrate_cases
    from simulator.cases import read_cases
    from simulator.cli.console import note, show
    from simulator.output import check_target, whole_file

    if out is not None:
        check_target(out)
    profile = load_profile(on)
    read = read_cases(cases)
    own = [case for case in read if case.hardware == profile.name]
    found = calibrate_cases(own or read, profile)
    show(calibrated_table(found))
    note(calibrated_remarks(found))
    if own and len(own) < len(read):
        note([f"left out {len(read) - len(own)}: measured on other machines"])
    if out is not None:
        with whole_file(out) as temporary:
            temporary.write_text(found.toml(_base(on, out)), encoding="utf-8")
        note([f"wrote {out}; use it with: moments run ... --on {out}"])


def _base(on: str, out: Path) -> str:
    """How the file at `out` names the machine that it extends."""
    import os

    if not on.endswith(".toml"):
        return on
    return os.path.relpath(Path(on).resolve(), out.resolve().parent)


def calibrated_table(found: Calibrated) -> Table:
    """Errors of each kind of kernels, before and after."""
    from rich.table import Table

    result = Table(title=f"Mean absolute error in percent, {found.profile.name}")
    for heading in ("kernel", "bits", "library"):
        result.add_column(heading)
    for heading in ("cases", "fitted", "before", "after", "not fitted, after", "spread"):
        result.add_column(heading, justify="right")
    for kind in found.kinds:
        entry = kind.calibration
        figures = (kind.before, kind.fitted_error, kind.held_out_error, kind.spread)
        result.add_row(
            entry.kernel, str(entry.bits), entry.library, f"{kind.cases:,}",
            str(len(entry.fitted)), *("" if x is None else f"{100 * x:.1f}" for x in figures),
        )  # fmt: skip
    return result


def calibrated_remarks(found: Calibrated) -> list[str]:
    """What could not be identified, and why cases were left out."""
    lines = []
    for kind in found.kinds:
        entry = kind.calibration
        if entry.not_identified:
            lines.append(
                f"{entry.kernel}, {entry.bits} bits, {entry.library}: these cases say little about "
                f"{', '.join(entry.not_identified)}, which stay near what is expected"
            )
    reasons: dict[str, int] = {}
    for _, reason in found.left_out:
        reasons[reason] = reasons.get(reason, 0) + 1
    return lines + [f"left out {count}: {reason}" for reason, count in reasons.items()]
