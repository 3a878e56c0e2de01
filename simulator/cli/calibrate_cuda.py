"""`moments calibrate --device cuda`: the GPU of this machine, measured and fitted."""

from __future__ import annotations

from pathlib import Path


def calibrate_this_device(device: str, folder: Path, on: str | None) -> None:
    """Measure, fit, write the files and show what is left."""
    from simulator.calibrate_cuda import calibrate_cuda, write_files
    from simulator.calibrate_cuda.files import targets
    from simulator.cli.calibrate import calibrated_remarks, calibrated_table
    from simulator.cli.console import note, progress_bar, show
    from workloads.errors import InputError

    if device != "cuda":
        raise InputError(f"unknown device {device!r} (known: cuda)")
    targets(folder)
    with progress_bar("measuring", every=1) as update:
        found = calibrate_cuda(on=on, progress=update, say=lambda line: note([line]))
    show(calibrated_table(found.calibrated))
    note(calibrated_remarks(found.calibrated))
    note([f"left out: {line}" for line in found.left_out])
    rates = found.copies
    l2 = found.properties.l2_bytes
    note([
        f"copies (read and written): {rates.rate(0, l2 // 4) / 1e9:,.0f} GB/s in L2, "
        f"{rates.rate(4 * l2, 2**40) / 1e9:,.0f} GB/s in memory",
        f"smallest kernel: {found.empty_s * 1e6:.1f} us in a replayed graph, "
        f"{found.dispatch['add'] * 1e6:.1f} us of the host when called",
        "not identified: modules around functions, launch, whole passes, which the runtime that it "
        "extends has",
    ])  # fmt: skip
    *_, profile, runtime, cases = write_files(found, folder)
    note([f"wrote {cases}", f"use it with: moments run ... --on {profile} --runtime {runtime}"])
