"""Biases of products, and the cores of attention: softmax between two batched products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

from workloads.importers.imported.steps import Step, Steps
from workloads.moment import AttentionShape, MatmulShape, Moment, OperationCounts, Tensor

_SCORE_OPS = ("add", "multiply", "divide", "subtract", "where", "cast", "max", "Clip", "tanh")
_WEIGHT_OPS = ("isnan", "where", "cast", "multiply")


class Links:
    """Who writes and who reads each tensor among steps, and what has been taken into another."""

    def __init__(self, found: Steps) -> None:
        self.found, self.steps = found, found.steps
        self.writer = {t.name: i for i, s in enumerate(self.steps) for t in s.moment.writes}
        self.readers: dict[str, set[int]] = {}
        for i, step in enumerate(self.steps):
            for tensor in step.moment.reads:
                self.readers.setdefault(tensor.name, set()).add(i)
        self.gone: set[int] = set()

    def only_for(self, position: int, readers: set[int]) -> bool:
        """Whether nobody but `readers` looks at what the step at `position` writes."""
        return all(
            t.name not in self.found.results and self.readers.get(t.name, set()) <= readers
            for t in self.steps[position].moment.writes
        )

    def absorb(self, member: int, into: int) -> None:
        """A step before (or right behind) another becomes part of it: counts, reads, result."""
        one, other = self.steps[into], self.steps[member]
        inside = {t.name for t in (*one.moment.writes, *other.moment.writes)}
        behind = bool({t.name for t in one.moment.writes} & {t.name for t in other.moment.reads})
        reads: dict[str, Tensor] = {}
        for tensor in (*one.moment.reads, *other.moment.reads):
            if tensor.name not in inside:
                reads.setdefault(tensor.name, tensor)
        writes = other.moment.writes if behind else one.moment.writes
        moment = replace(
            one.moment,
            counts=one.moment.counts + other.moment.counts,
            reads=tuple(reads.values()),
            writes=writes,
        )
        args = one.args
        if not behind:
            made = {t.name for t in other.moment.writes}
            source = next((a for a in other.args if a is not None), None)
            args = tuple(source if a in made else a for a in args)
        self.steps[into] = replace(one, moment=moment, args=args)
        self.gone.add(member)
        for tensor in reads.values():
            self.readers.setdefault(tensor.name, set()).add(into)
            self.readers[tensor.name].discard(member)
        if behind:
            self.writer.update({t.name: into for t in writes})

    def finish(self) -> None:
        """Drop the absorbed steps, and keep an order in which readers follow writers.

        What was taken into a later step runs there; what a product takes from behind it was
        written for readers that come later still.
        """
        self.found.steps = [s for i, s in enumerate(self.steps) if i not in self.gone]


def attach_biases(found: Steps) -> None:
    """A weight of n values added to a product with n columns: the product's bias."""
    links = Links(found)
    for position, step in enumerate(found.steps):
        if step.op != "add" or len(step.args) != 2:
            continue
        for rows, bias in (step.args, step.args[::-1]):
            product = links.writer.get(rows or "")
            if product is None or bias not in found.weights or rows is None:
                continue
            moment = found.steps[product].moment
            shape = moment.shape
            plain = found.steps[product].op == "linear" and isinstance(shape, MatmulShape)
            if not plain or moment.counts.vector_ops or not links.only_for(product, {position}):
                continue
            if found.weights[bias].elements == shape.n * shape.batch:  # type: ignore[union-attr]
                links.absorb(position, product)
                break
    links.finish()


def find_cores(found: Steps) -> None:
    """Mark every core; scales, masks and layouts around its softmax and products are part of it.

    A transpose that only a product of the core reads is no moment: its kernels read operands in
    any layout, and write their result in the one that the next product wants.
    """
    links = Links(found)
    for position, step in enumerate(list(found.steps)):
        if step.op == "softmax" and step.moment.attention is None:
            _core(links, position)
        elif step.op == "context":
            _take_result(links, position)
    links.finish()


def _core(links: Links, softmax: int) -> None:
    back = _scores_before(links, softmax)
    ahead = _product_after(links, softmax)
    if back is None or ahead is None:
        return
    (scores, before), (context, after) = back, ahead
    shape = _shape(links.steps[scores], links.steps[context])
    if shape is None:
        return
    for member in before:
        links.absorb(member, softmax)
    _take_ahead(links, softmax, after)
    for product in (scores, context):
        _take_layouts(links, product)
    _take_result(links, context)
    for position in (scores, softmax, context):
        step = links.steps[position]
        moment = replace(
            step.moment, parts=shape.batch * shape.heads, group="core", attention=shape,
            kind="softmax" if position == softmax else "matmul",
        )  # fmt: skip
        links.steps[position] = replace(step, moment=moment)
    links.steps[scores].op, links.steps[context].op = "scores", "context"


def _scores_before(links: Links, softmax: int) -> tuple[int, list[int]] | None:
    """The product behind a chain of operations on scores, and that chain, last one first."""
    chain: list[int] = []
    position = softmax
    size = prod(links.steps[softmax].out_shape)
    while True:
        previous = [
            links.writer[a]
            for a in links.steps[position].args
            if a in links.writer and prod(links.steps[links.writer[a]].out_shape) == size
        ]
        products = [p for p in previous if links.steps[p].op == "matmul"]
        if products and links.only_for(products[0], {position}):
            return products[0], chain
        steps = [p for p in previous if links.steps[p].op in _SCORE_OPS]
        steps = [p for p in steps if links.only_for(p, {position})]
        if not steps or len(chain) > 8:
            return None
        position = steps[0]
        chain.append(position)


def _product_after(links: Links, softmax: int) -> tuple[int, list[int]] | None:
    """The product that reads the weights, and what guards them from not-a-number before it."""
    inside: list[int] = []
    frontier = [softmax]
    product: int | None = None
    while frontier:
        position = frontier.pop(0)
        for tensor in links.steps[position].moment.writes:
            if tensor.name in links.found.results:
                return None
            for reader in sorted(links.readers.get(tensor.name, ())):
                if links.steps[reader].op in _WEIGHT_OPS:
                    if reader not in inside:
                        inside.append(reader)
                        frontier.append(reader)
                elif links.steps[reader].op == "matmul" and product in (None, reader):
                    product = reader
                else:
                    return None
    return None if product is None or len(inside) > 8 else (product, inside)


def _take_ahead(links: Links, softmax: int, after: list[int]) -> None:
    if not after:
        return
    members = [softmax, *after]
    inside = {t.name for i in members for t in links.steps[i].moment.writes}
    counts, reads = OperationCounts(), {}
    for i in members:
        counts += links.steps[i].moment.counts
        reads.update({t.name: t for t in links.steps[i].moment.reads if t.name not in inside})
    step, last = links.steps[softmax], links.steps[max(after)]
    moment = replace(
        step.moment, counts=counts, reads=tuple(reads.values()), writes=last.moment.writes
    )
    links.steps[softmax] = replace(step, moment=moment)
    links.gone |= set(after)


def _take_layouts(links: Links, product: int) -> None:
    """Transposes and scales that only this product reads."""
    pending = True
    while pending:
        pending = False
        for name in links.steps[product].args:
            writer = links.writer.get(name or "")
            if writer is None or writer in links.gone or not links.only_for(writer, {product}):
                continue
            step = links.steps[writer]
            alone = [a for a in step.args if a is not None]
            layout = step.op == "transpose"
            scale = step.op in ("multiply", "divide") and len(alone) == 1
            if (layout or scale) and len(alone) == 1:
                links.absorb(writer, product)
                pending = True
                break


def _take_result(links: Links, context: int) -> None:
    name = links.steps[context].out
    readers = links.readers.get(name, set())
    if len(readers) == 1 and name not in links.found.results:
        reader = next(iter(readers))
        if links.steps[reader].op in ("transpose", "contiguous"):
            links.absorb(reader, context)


def _shape(scores: Step, context: Step) -> AttentionShape | None:
    one, two = scores.moment.shape, context.moment.shape
    if not isinstance(one, MatmulShape) or not isinstance(two, MatmulShape):
        return None
    if (one.batch, one.m, one.n) != (two.batch, two.m, two.k) or len(scores.out_shape) < 3:
        return None
    heads = scores.out_shape[-3]
    value_dim = 0 if two.n == one.k else two.n
    return AttentionShape(
        one.batch // heads, heads, heads, one.k, one.m, one.n, False, value_dim=value_dim
    )


def cores(steps: list[Step]) -> Iterator[tuple[int, int]]:
    """(position of the scores, position of the context) of every core."""
    writer = {t.name: i for i, s in enumerate(steps) for t in s.moment.writes}
    for position, step in enumerate(steps):
        if step.op != "context":
            continue
        for name in _names(step.moment):
            softmax = writer.get(name)
            if softmax is None or steps[softmax].op != "softmax":
                continue
            for source in _names(steps[softmax].moment):
                if source in writer and steps[writer[source]].op == "scores":
                    yield writer[source], position


def _names(moment: Moment) -> list[str]:
    return [t.name for t in moment.reads]
