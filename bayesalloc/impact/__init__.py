"""The aggregate impact function of a network of projects, and the search for the allocation that it favours."""
