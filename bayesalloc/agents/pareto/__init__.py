"""Learners with several objectives: they find what trade-offs there are, and act for whatever weights they are given.

`tabular` keeps sets of outcomes, exactly, where states can be counted; `conditioned` is one network for all weights.
"""
