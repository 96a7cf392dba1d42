"""Results in, documents out; one file for each kind of result, which computes no statistic.

`words`, `tables`, `figures` and `html` are what they share, and `reading` is how each reads a result.
"""
