"""What a machine costs and what it is made of: facts that no run depends on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from hardware_profiles.tables import Sourced

Amount = Annotated[float, Field(gt=0, le=10_000_000, allow_inf_nan=False)]
Date = Annotated[str, StringConstraints(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])(-[0-3][0-9])?$")]


class Price(Sourced):
    """Prices at `date` (a day or a month), in `currency`.

    `per_hour`: to rent the machine with its share of a host, as listed; the source says by whom and
    on which terms. `to_buy`: of a board or processor, as listed at its launch.
    """

    per_hour: Amount | None = None
    to_buy: Amount | None = None
    currency: Literal["usd"] = "usd"
    date: Date | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Price:
        if self.per_hour is None and self.to_buy is None:
            raise ValueError("per_hour or to_buy is needed")
        return self


class Process(Sourced):
    """`node_nm`: as the foundry names it. Area and transistors: of all dies that compute."""

    node_nm: Annotated[float, Field(ge=1, le=90)]
    die_area_mm2: Annotated[float, Field(gt=0, le=100_000)] | None = None
    transistors: Annotated[float, Field(ge=1e6, le=1e13)] | None = None
