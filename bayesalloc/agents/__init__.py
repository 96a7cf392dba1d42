"""Agents that learn to act in an environment, and adapters to other toolkits."""
