"""The social resource allocation problem one task at a time: a central agent decides whose task is next.

Each period one agent is named, and its most efficient task that pays is carried out with the nearest items; the last
action stops. The reward is what that gains over the greedy order. See `bayesalloc.allocators.sequential`.
"""

from bayesalloc.allocators.sequential import environment as sequence

environment = sequence()
