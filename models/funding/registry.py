"""What `bayesalloc train altruism` finds: the learned methods of the world of funded projects, by name."""

from pathlib import Path

from bayesalloc.agents.policies import Registry
from bayesalloc.models.funding.learned import METHODS
from bayesalloc.settings import read_setting

REGISTRY = Registry(
    problem="altruism", methods=METHODS, read_setting=read_setting, trained=Path(__file__).parent / "trained"
)
