"""What is concluded from a record: a record posed, sampled, diagnosed; draws from a posterior."""

from bayesalloc.inference.diagnosing import diagnose as diagnose, summary as summary
from bayesalloc.inference.posing import pose as pose, restore as restore
from bayesalloc.inference.sampling import fit as fit
