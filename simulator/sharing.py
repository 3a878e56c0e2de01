"""How flows divide a shared resource: one rule for the engine and for views that redraw it."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

RATE_ONE = 1 << 20
"""Rates are integers: bytes per cycle in units of 1/RATE_ONE, so no float reaches the engine."""


def share_rate(caps: Sequence[int], total: int) -> list[int]:
    """Divide `total` among flows with caps (0: none) by progressive filling, in integers.

    Every flow gets an equal share; what a capped flow leaves goes to the others.
    """
    if not any(caps):
        return [total // len(caps)] * len(caps) if caps else []
    rates = [0] * len(caps)
    left, waiting = total, len(caps)
    for i in sorted(range(len(caps)), key=lambda i: (caps[i] or total, i)):
        share = left // waiting
        rates[i] = min(caps[i], share) if caps[i] else share
        left -= rates[i]
        waiting -= 1
    return rates


class Pool:
    """Flows in progress over one shared resource, each of some bytes and with a cap on its rate.

    While all flows run at the same rate, which is the usual case, each one's end is a fixed amount
    of service, so a change costs the logarithm of their number. Only where caps make rates differ
    is every flow brought up to date at every change. Both give the same cycles.
    """

    def __init__(self, total_rate: int) -> None:
        self._total = total_rate
        self._now = 0
        self._caps: dict[int, int] = {}
        self._common = 0  # the cap of all flows, 0 where they differ
        self._equal = True
        self._rate = 0
        self._service = 0
        self._ends: list[tuple[int, int]] = []
        self._left: dict[int, int] = {}
        self._rates: dict[int, int] = {}

    @property
    def rate(self) -> int:
        """What all flows draw together since the last `settle`."""
        return self._rate * len(self._caps) if self._equal else sum(self._rates.values())

    def add(self, key: int, size_bytes: int, cap: int, now: int) -> None:
        """Begin a flow; call `settle` before time goes on. A cap of 0 is none."""
        if now != self._now:
            self._advance(now)
        cap = cap or self._total
        if cap != self._common:
            self._common = 0 if self._caps else cap
        self._caps[key] = cap
        if self._equal:
            heappush(self._ends, (self._service + size_bytes * RATE_ONE, key))
        else:
            self._left[key] = size_bytes * RATE_ONE

    def take_done(self, now: int) -> list[int]:
        """Remove the flows that are done, in order of their ends; `settle` before time goes on."""
        if now != self._now:
            self._advance(now)
        if self._equal:
            done, ends, service, caps = [], self._ends, self._service, self._caps
            while ends and ends[0][0] <= service:
                key = heappop(ends)[1]
                del caps[key]
                done.append(key)
            return done
        done = [key for key, left in self._left.items() if left <= 0]
        for key in done:
            del self._caps[key], self._left[key]
        return done

    def settle(self) -> int | None:
        """Set the rates anew; cycles until the first flow is done, None if none ever will be."""
        count = len(self._caps)
        if not count:
            self._common, self._equal, self._rate = 0, True, 0
            self._rates.clear()
            return None
        share, common = self._total // count, self._common
        low = common or min(self._caps.values())
        if common or low >= share:
            if not self._equal:
                self._all_equal()
            self._rate = rate = share if share < low else low
            return -((self._service - self._ends[0][0]) // rate) if rate else None
        self._each_at(share_rate(list(self._caps.values()), self._total))
        waits = [-(-self._left[k] // rate) for k, rate in self._rates.items() if rate]
        return min(waits, default=None)

    def _all_equal(self) -> None:
        self._equal = True
        self._ends = sorted((self._service + left, key) for key, left in self._left.items())
        self._left.clear()

    def _each_at(self, rates: Sequence[int]) -> None:
        if self._equal:
            self._equal = False
            self._left = {key: end - self._service for end, key in self._ends}
            self._ends.clear()
        self._rates = dict(zip(self._caps, rates, strict=True))

    def _advance(self, now: int) -> None:
        elapsed = now - self._now
        if elapsed and self._equal:
            self._service += self._rate * elapsed
        elif elapsed:
            for key, rate in self._rates.items():
                self._left[key] -= rate * elapsed
        self._now = now
