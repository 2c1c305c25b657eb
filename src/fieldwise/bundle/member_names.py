"""The names of a stack's members, ``members.NAME.`` before those of their arrays in a bundle."""

from __future__ import annotations

__all__ = ["kind_of", "member_names"]


def member_names(kind: str) -> tuple[str, ...]:
    """Return the names of the members of a stack: their kinds, numbered from the second of a kind on.

    Examples
    --------
    >>> member_names("lc-dnn+lc-dnn+bayesian-fm")
    ('lc-dnn', 'lc-dnn#2', 'bayesian-fm')
    """
    kinds = kind.split("+")
    numbers = [kinds[:place].count(each) + 1 for place, each in enumerate(kinds)]
    return tuple(each if n == 1 else f"{each}#{n}" for each, n in zip(kinds, numbers, strict=True))


def kind_of(name: str) -> str:
    """Return the kind of a member of a stack.

    Examples
    --------
    >>> kind_of("lc-dnn#2")
    'lc-dnn'
    """
    return name.partition("#")[0]
