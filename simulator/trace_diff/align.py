"""Alignment of measured operators with simulated moments, in order, at the least total cost.

Dynamic programming over both sequences, as for the edit distance. An operator may do one moment, or
several in a row (one product for query, key and value; a fused kernel); several operators in a row
may do one moment (attention, GELU or RMSNorm written out). What is left alone costs more than a
moment of the same kind in another size, less than one of another kind, which is never taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.trace_diff.measured import Operator
from simulator.trace_diff.shapes import sizes_of_moment
from workloads.errors import InputError
from workloads.moment import Moment

_words = str.split

MAX_CELLS = 6_000_000
_ALONE, _LIGHT_ALONE = 1.0, 0.3
_UNKNOWN_SIZE, _OTHER_SIZE = 0.2, 1.2
_PART, _FIRST_PART = 0.1, 0.3
_LONGEST = 6

_ALIKE = {"gelu_tanh": "gelu"}
_ACTIVATIONS = frozenset({"gelu", "relu", "silu", "tanh"})
_ANYWHERE = frozenset({"copy", "to"})
_PARTS: dict[str, frozenset[str]] = {
    "attention": frozenset(
        _words("matmul multiply add softmax masked_fill where isnan IsNaN Where cache_append")
    ),
    "gelu": frozenset(_words("multiply pow add tanh erf Pow Erf")),
    "rms_norm": frozenset(_words("pow mean rsqrt add multiply Pow ReduceMean Sqrt")),
    "layer_norm": frozenset(_words("mean add pow sqrt multiply")),
    "rope": frozenset(_words("multiply neg cache_append add Neg")),
    "silu": frozenset(_words("sigmoid Sigmoid multiply")),
    "sample": frozenset(_words("softmax top_k")),
}
_LIGHT = frozenset({"copy", "cache_append"})

_SKIP_OPERATOR, _SKIP_MOMENT, _PAIR, _JOIN = 0, 1, 2, 3
_COVER = 4  # _COVER + n: one operator does n moments


@dataclass(frozen=True)
class Match:
    """Operators that do moments, by position; one of both sides has a single member."""

    operators: tuple[int, ...]
    moments: tuple[int, ...]


def align(operators: Sequence[Operator], moments: Sequence[Moment]) -> list[Match]:
    """Matches in order; what is in none was left alone. Views must not be among `operators`.

    InputError: more than 6 million pairs to look at.
    """
    if len(operators) * len(moments) > MAX_CELLS:
        raise InputError(
            f"{len(operators):,} measured operators against {len(moments):,} moments are too many "
            "to align; profile a single pass and describe that (--prompt, or --context)"
        )
    kinds = [_ALIKE.get(moment.kind, moment.kind) for moment in moments]
    sizes = [sizes_of_moment(moment) for moment in moments]
    moves = _Table(operators, kinds, sizes).moves()
    return _walk_back(moves, len(operators), len(moments))


class _Table:
    """Costs of the best alignments; "open": the last operator's moment may get more."""

    def __init__(
        self,
        operators: Sequence[Operator],
        kinds: Sequence[str],
        sizes: Sequence[tuple[int, ...] | None],
    ) -> None:
        self.operators = operators
        self.kinds = kinds
        self.sizes = sizes

    def moves(self) -> list[tuple[bytearray, bytearray]]:
        """For each row of operators the last move to each column, closed and open.

        Moves carry in bit 7 whether they come from an open cell.
        """
        far = float("inf")
        width = len(self.kinds) + 1
        closed = [float(j) for j in range(width)]
        opened = [far] * width
        table = [(bytearray([_SKIP_MOMENT]) * width, bytearray(width))]
        for i, op in enumerate(self.operators):
            again = op.call >= 0 and i > 0 and self.operators[i - 1].call == op.call
            alone = _LIGHT_ALONE if op.kind in _LIGHT or op.kind not in _PLAIN else _ALONE
            new_closed, new_opened = [far] * width, [far] * width
            how_closed, how_opened = bytearray(width), bytearray(width)
            for j in range(width):
                from_open = opened[j] < closed[j]
                best, how = min(opened[j], closed[j]) + alone, _SKIP_OPERATOR | from_open << 7
                best_open, how_open = far, 0
                if op.kind in _ANYWHERE:  # a copy in between does not end what is being done
                    best_open, how_open = opened[j] + alone, _SKIP_OPERATOR | 1 << 7
                if j:
                    left_open = new_opened[j - 1] < new_closed[j - 1]
                    cost = min(new_opened[j - 1], new_closed[j - 1]) + _ALONE
                    if cost < best:
                        best, how = cost, _SKIP_MOMENT | left_open << 7
                    for count, cost in () if again else self._does(op, j):
                        before = opened[j - count] < closed[j - count]
                        cost += min(opened[j - count], closed[j - count])
                        if cost < best_open:
                            move = _PAIR if count == 1 else _COVER + count
                            best_open, how_open = cost, move | before << 7
                    cost = opened[j] + self._joins(op, self.kinds[j - 1], j - 1, again)
                    if cost < best_open:
                        best_open, how_open = cost, _JOIN | 1 << 7
                new_closed[j], how_closed[j] = best, how
                new_opened[j], how_opened[j] = best_open, how_open
            closed, opened = new_closed, new_opened
            table.append((how_closed, how_opened))
        last = opened[-1] < closed[-1]
        table.append((bytearray([last]), bytearray()))
        return table

    def _does(self, op: Operator, j: int) -> list[tuple[int, float]]:
        """(how many moments that end at j, cost) of what an operator may do."""
        kind, kinds, sizes = self.kinds[j - 1], self.kinds, self.sizes
        found = []
        if len(op.kinds) > 1:
            count = len(op.kinds)
            if count <= j and all(map(_is, kinds[j - count : j], op.kinds)):
                found.append((count, _UNKNOWN_SIZE))
            if kind in op.kinds:  # fused in the program, too
                found.append((1, _FIRST_PART))
            return found
        if kind == op.kind:
            part = _is_column_part(op, kind, sizes[j - 1])
            found.append((1, _FIRST_PART if part else _size_cost(op.sizes, sizes[j - 1])))
        elif op.kind in _PARTS.get(kind, ()) and not op.weighted:
            found.append((1, _FIRST_PART))
        if kind == "matmul" == op.kind and op.sizes:
            columns = 0
            for count in range(1, min(_LONGEST, j) + 1):
                size = sizes[j - count]
                if kinds[j - count] != "matmul" or size is None or not _same_rows(size, op.sizes):
                    break
                columns += size[2]
                if count > 1 and columns == op.sizes[2]:
                    found.append((count, 0.0))
        return found

    def _joins(self, op: Operator, kind: str, position: int, again: bool) -> float:
        if again:
            return 0.0
        if _is_column_part(op, kind, self.sizes[position]):
            return _PART
        if op.weighted or len(op.kinds) > 1:
            return float("inf")
        parts = _PARTS.get(kind)
        if parts is None or op.kind not in parts | _ANYWHERE:
            return float("inf")
        return _PART


_PLAIN = frozenset(
    _words("""matmul attention softmax layer_norm rms_norm gelu silu relu tanh add multiply
    embedding""")
)
"""Kinds that count as much as a moment when they are left alone; others cost less."""


def _is(kind: str, wanted: str) -> bool:
    return kind == wanted or (wanted == "activation" and kind in _ACTIVATIONS)


def _same_rows(moment: tuple[int, ...], op: tuple[int, ...]) -> bool:
    return (moment[0], moment[1], moment[3]) == (op[0], op[1], op[3])


def _is_column_part(op: Operator, kind: str, moment: tuple[int, ...] | None) -> bool:
    """Whether an operator makes some of the columns of a product that the program has whole."""
    if kind != "matmul" or op.kinds != ("matmul",) or op.sizes is None or moment is None:
        return False
    return _same_rows(moment, op.sizes) and op.sizes[2] < moment[2]


def _size_cost(op: tuple[int, ...] | None, moment: tuple[int, ...] | None) -> float:
    if op is None or moment is None:
        return _UNKNOWN_SIZE
    return 0.0 if op == moment else _OTHER_SIZE


def _walk_back(table: list[tuple[bytearray, bytearray]], i: int, j: int) -> list[Match]:
    found: list[Match] = []
    joined: list[int] = []
    state = table[-1][0][0]
    while i or j:
        code = table[i][state][j]
        move, state = code & 127, code >> 7
        if move == _SKIP_MOMENT:
            j -= 1
        elif move == _SKIP_OPERATOR:
            i -= 1
        elif move == _JOIN:
            i -= 1
            joined.append(i)
        else:
            count = 1 if move == _PAIR else move - _COVER
            i -= 1
            found.append(Match((i, *reversed(joined)), tuple(range(j - count, j))))
            joined = []
            j -= count
    return found[::-1]
