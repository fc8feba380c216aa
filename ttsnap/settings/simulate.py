"""The `simulate` section of the config."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ttsnap.pruning.budget import Unit
from ttsnap.pruning.costs import Accounting
from ttsnap.pruning.seeds import MOST_DRAWS
from ttsnap.settings.schedule import ScheduleSettings
from ttsnap.settings.section import Section

Size = Annotated[float, Field(gt=0)]


class Budgets(Section):
    """The budgets to compare, in candidates of best-of-N or in TFLOP per prompt."""

    unit: Unit = Field("candidates", description="unit of first, last and step")
    first: Size = Field(2, description="smallest budget")
    last: Size = Field(10, description="largest budget, inclusive")
    step: Size = Field(1, description="step between budgets")


class Simulate(Section):
    """Monte Carlo simulation on the reward tensors."""

    accounting: Accounting = Field(
        "exact", description="how costs are counted (docs/method.md, Cost and budgets); realised: old name of whole"
    )
    fit_accounting: Accounting | None = Field(
        "whole",
        description="accounting for fitting schedules: under exact, a fit would choose fractions that round up to more "
        "survivors than the budget pays for; null, or left out with accounting: published: same as accounting",
    )
    fit_share: float = Field(
        0.875,
        gt=0,
        lt=1,
        description="share of the validation prompts to fit schedules on; the gain is measured on the rest",
    )
    budgets: Budgets = Field(default_factory=Budgets, description="budgets per prompt")
    draws: int = Field(100, gt=0, le=MOST_DRAWS, description="random subsets per prompt and budget")
    schedule: Literal["fit"] | ScheduleSettings = Field(
        "fit", description="fit: search on the validation prompts, for each reward and method; or a fixed one"
    )

    @model_validator(mode="before")
    @classmethod
    def _fits_as_published(cls, values):
        if isinstance(values, dict) and values.get("accounting") == "published":
            return {"fit_accounting": None, **values}
        return values
