"""Names of sites in trees: a group of a netCDF file or a DataTree reads "/" as a path, and NumPyro's scopes use it."""

from bayesalloc.sites import RESERVED


def escaped(name: str) -> str:
    """A site's name as a variable or dimension of a tree: "/" is written "%2F", and "%" is written "%25".

    A site that is called as one of the tree's own dimensions gets a "%" at its end.

    >>> escaped("north/yield"), escaped("treatment")
    ('north%2Fyield', 'treatment%')
    """
    return f"{name}%" if name in RESERVED else name.replace("%", "%25").replace("/", "%2F")


def unescaped(name: str) -> str:
    """The site that a variable or dimension of a tree stands for: the inverse of `escaped`.

    >>> unescaped(escaped("50% of north/yield")), unescaped("treatment%")
    ('50% of north/yield', 'treatment')
    """
    return name.removesuffix("%").replace("%2F", "/").replace("%25", "%")
