"""A causal graph as documents."""
