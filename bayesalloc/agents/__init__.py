"""Learners that know no problem: how to learn, to keep what was learned, and to act in other toolkits' loops.

A problem's own learned methods stand with the problem, in a registry of `policies.Method`s.
"""
