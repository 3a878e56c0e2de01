"""Pipeline parallelism: layers on devices one after another, the batch in parts that follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from workloads.errors import InputError
from workloads.moment import (
    CollectiveShape,
    Footprint,
    Moment,
    Pass,
    Program,
    Repeat,
    Segment,
    Tensor,
)
from workloads.op_counts import collective


def pipeline(program: Program, stages: int, *, micro_batches: int = 1) -> Program:
    """The program on `stages` devices, for `micro_batches` batches like its own, side by side.

    Each device has as many layers as the others, or one more on the first ones; what comes before
    the first layer and after the last goes with it. A value that a device needs and another wrote
    is sent once (send_recv on the writer's link). In each pass the parts of the batch follow one
    another, each through all devices. InputError: more stages than layers. The footprint is that
    of the fullest device, all parts' caches with it: an estimate by layers. Not modelled: stages
    balanced by anything else than their number of layers, interleaved stages.
    """
    layers = min(sum(r.count for r in step.repeats if _is_layer(r)) for step in program.passes)
    if not 1 <= stages <= layers:
        raise InputError(
            f"{program.workload}: {stages} pipeline stages, but it has {layers} layers; expected 1"
            f" to {layers}"
        )
    if micro_batches < 1:
        raise InputError(f"micro_batches = {micro_batches}: expected 1 or more parts of the batch")
    if stages == 1 and micro_batches == 1:
        return program
    parts = [f"part.{i}" for i in range(micro_batches)] if micro_batches > 1 else [""]
    laid = [
        [
            _At(replace(repeat, device=device, part=part))
            for part in parts
            for repeat, device in placed
        ]
        for placed in (list(_placed(step, stages)) for step in program.passes)
    ]
    _add_sends([at for step in laid for at in step])
    passes = tuple(
        replace(step, repeats=tuple(_grouped(r for at in entries for r in (at.repeat, *at.sends))))
        for step, entries in zip(program.passes, laid, strict=True)
    )
    spread = replace(program, passes=passes, batch=program.batch * micro_batches)
    return replace(spread, footprint=_fullest(program, layers, stages, micro_batches))


def _is_layer(repeat: Repeat) -> bool:
    return any(m.stage in ("attention", "feed_forward") for m in repeat.segment.moments)


def _placed(step: Pass, stages: int) -> Iterator[tuple[Repeat, int]]:
    """Each instance of a pass as a repeat of its own, with its device."""
    total = sum(r.count for r in step.repeats if _is_layer(r))
    done = 0
    for repeat in step.repeats:
        numbered = repeat.count > 1 or repeat.first is not None
        for i in range(repeat.count):
            first = (repeat.first or 0) + i if numbered else None
            # the first stages have one layer more where the layers do not divide
            device = _stage_of(min(done, total - 1), total, stages)
            if not _is_layer(repeat) and done and done == total:
                device = stages - 1
            yield replace(repeat, count=1, first=first), device
            done += _is_layer(repeat)


def _stage_of(layer: int, layers: int, stages: int) -> int:
    base, more = divmod(layers, stages)
    fuller = more * (base + 1)
    if layer < fuller:
        return layer // (base + 1)
    return more + (layer - fuller) // base


@dataclass
class _At:
    """One instance of a segment on its device, and what is sent as soon as it is done."""

    repeat: Repeat
    sends: list[Repeat] = field(default_factory=list)


def _add_sends(order: list[_At]) -> None:
    """Send each value that another device reads, once, right after it was written.

    A link carries one thing after another, so a send that came later in the order would wait for
    what its reader does not.
    """
    writers: dict[tuple[str, str], _At] = {}
    have: dict[tuple[str, str], set[int]] = {}
    wanted: dict[tuple[int, int], tuple[_At, dict[str, Tensor]]] = {}
    for at in order:
        part, device = at.repeat.part, at.repeat.device
        for name, position in at.repeat.segment.imports:
            key = (part, name)
            if key not in writers or device in have[key]:
                continue
            have[key].add(device)
            tensor = next(t for t in at.repeat.segment.moments[position].reads if t.name == name)
            writer = writers[key]
            wanted.setdefault((id(writer), device), (writer, {}))[1][name] = tensor
        for name in at.repeat.segment.exports:
            writers[part, name], have[part, name] = at, {device}
    made: dict[tuple[tuple[str, int], ...], Segment] = {}
    for writer, values in wanted.values():
        sizes = tuple((tensor.name, tensor.bytes) for tensor in values.values())
        if sizes not in made:
            made[sizes] = Segment.from_moments("send", [_sent(t) for t in values.values()])
        repeat = writer.repeat
        writer.sends.append(Repeat(made[sizes], device=repeat.device, part=repeat.part))


def _sent(tensor: Tensor) -> Moment:
    """Bytes are bytes: the type of what is sent does not matter."""
    shape = CollectiveShape("send_recv", max(1, tensor.bytes), 2)
    stage = "decode" if tensor.name == "tokens" else "feed_forward"
    return collective(
        f"send_{tensor.name}", stage, shape=shape, dtype="int8", source=tensor.name,  # type: ignore[arg-type]
        target=tensor.name,
    )  # fmt: skip


def _grouped(repeats: Iterable[Repeat]) -> Iterator[Repeat]:
    """Neighbours of one segment, device and part, with following numbers, as one repeat."""
    last: Repeat | None = None
    for repeat in repeats:
        if (
            last is not None
            and last.segment is repeat.segment
            and (last.device, last.part) == (repeat.device, repeat.part)
            and last.first is not None
            and repeat.first == last.first + last.count
        ):
            last = replace(last, count=last.count + 1)
            continue
        if last is not None:
            yield last
        last = repeat
    if last is not None:
        yield last


def _fullest(program: Program, layers: int, stages: int, micro_batches: int) -> Footprint:
    """A device with most layers and the last matrix, which is as large as any table."""
    need = program.footprint
    most = -(-layers // stages)
    heads = [
        tensor.bytes
        for instance in program.instances()
        for moment in instance.segment.moments
        if moment.name == "lm_head"
        for tensor in moment.reads
        if tensor.role == "weight"
    ]
    ends = min(max(heads, default=0), need.weight_bytes)
    return Footprint(
        ends + -(-(need.weight_bytes - ends) * most // layers),
        -(-need.kv_cache_bytes * micro_batches * most // layers),
        need.activation_bytes,
    )
