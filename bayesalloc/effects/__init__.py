"""What an intervention changes: arms simulated, contrasts, decisions, counterfactuals."""

from bayesalloc.effects.arms import Arm as Arm
from bayesalloc.effects.comparing import ate as ate, compare as compare
from bayesalloc.effects.replaying import counterfactual as counterfactual
