"""Names of sites in trees: a group of a netCDF file or a DataTree reads "/" as a path, and NumPyro's scopes use it."""


def escaped(name: str) -> str:
    """A site's name as a variable or dimension of a tree: "/" is written "%2F", and "%" is written "%25".

    >>> escaped("north/yield")
    'north%2Fyield'
    """
    return name.replace("%", "%25").replace("/", "%2F")


def unescaped(name: str) -> str:
    """The site that a variable or dimension of a tree stands for: the inverse of `escaped`.

    >>> unescaped(escaped("50% of north/yield"))
    '50% of north/yield'
    """
    return name.replace("%2F", "/").replace("%25", "%")
