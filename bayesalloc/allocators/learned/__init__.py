"""Learned methods of the social resource allocation problem; the registry says which there are."""

from bayesalloc.allocators.learned.registry import (
    LEARNED as LEARNED,
    REGISTRY as REGISTRY,
    allocator as allocator,
    check as check,
    policy as policy,
)
