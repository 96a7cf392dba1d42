"""Certificates of effects: what a run states, the evidence that goes along, and whether others find the same."""
