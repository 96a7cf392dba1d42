"""Allocators of the social resource allocation problem."""
