"""How ListOps expressions are written, and what they are worth.

[MAX 2 9 [MIN 4 7 ] 0 ]   has the value 9
"""

from collections.abc import Callable, Iterable, Sequence

from hydropress.errors import InvalidArgumentError

DIGITS = tuple("0123456789")
OPERATORS = ("[MIN", "[MAX", "[MED", "[SM")
END = "]"
TOKENS = (*DIGITS, *OPERATORS, END)
"""All tokens; the first has the number 1, since 0 is the padding."""


def _median(values: list[int]) -> int:
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) // 2


_OPERATIONS: dict[str, Callable[[list[int]], int]] = {
    "[MIN": min,
    "[MAX": max,
    "[MED": _median,
    "[SM": lambda values: sum(values) % 10,
}
_DIGIT_VALUES = {digit: value for value, digit in enumerate(DIGITS)}


def evaluate(words: Iterable[str]) -> int:
    """Return the value of an expression, token by token with a stack.

    Raises
    ------
    InvalidArgumentError
        If the tokens are not one complete expression; the message says which token is the first
        that does not fit.
    """
    operators: list[str] = []
    arguments: list[list[int]] = [[]]
    place = 0
    for place, word in enumerate(words, 1):
        if word in _DIGIT_VALUES:
            arguments[-1].append(_DIGIT_VALUES[word])
        elif word in _OPERATIONS:
            operators.append(word)
            arguments.append([])
        elif word != END:
            raise _invalid(f"token {place} is {word!r}, unknown")
        elif not operators:
            raise _invalid(f"token {place} closes a bracket that was not opened")
        elif not arguments[-1]:
            raise _invalid(f"token {place} closes {operators[-1]!r}, which has no arguments")
        else:
            value = _OPERATIONS[operators.pop()](arguments.pop())
            arguments[-1].append(value)
        if arguments[0] and (operators or len(arguments[0]) > 1):
            raise _invalid(f"token {place} follows a complete expression")
    if place == 0:
        raise _invalid("no tokens")
    if operators:
        raise _invalid(f"token {place} is the last, with a bracket open")
    return arguments[0][0]


def _invalid(problem: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{problem}; required: one expression of {' '.join(TOKENS)} with its "
        "brackets balanced; correct it"
    )


def parenthesised(words: Sequence[str]) -> str:
    """Return a valid expression as the benchmark's files have it.

    An operator is applied to one argument after the other, each application in parentheses:
    ``[MAX 3 4 ]`` is written ``( ( ( [MAX 3 ) 4 ) ] )``.
    """
    open_lists: list[list[str]] = [[]]
    for word in words:
        if word in OPERATORS:
            open_lists.append([word])
        elif word == END:
            operator, *arguments = open_lists.pop()
            applications = "( " * (len(arguments) + 1) + operator
            open_lists[-1].append(f"{applications} {' ) '.join([*arguments, END])} )")
        else:
            open_lists[-1].append(word)
    return open_lists[0][0]
