"""Static checks of a model's source: Python's own parser reads it, nothing executes it."""

import ast
import re
import symtable
import warnings

#: What nearly every LEMUR model takes; assumed where the text does not tell.
USUAL_HYPERPARAMETERS = ("lr", "momentum", "dropout")

#: What Python's parser raises on text that is no Python: null bytes are a ValueError, nesting the other two.
UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError)

#: The function from its first line up to the next line that is not indented.
_FUNCTION = re.compile(r"^def supported_hyperparameters\(.*(?:\n(?:[ \t].*)?)*", re.MULTILINE)

#: The parameters of the first method `forward` of the class `Net`.
_FORWARD = re.compile(r"^class Net\b.*?^[ \t]+def forward\(([^)]*)\)", re.MULTILINE | re.DOTALL)
#: A hyperparameter that has to be there: `prm["x"]`, or `prm.get("x")` without a default.
_REQUIRED = re.compile(r"""\bprm(?:\[|\.get\()\s*["'](\w+)["']\s*[\])]""")


def forward_parameters(code: str) -> tuple[str, ...]:
    """Return the names of the parameters of `Net.forward`; empty where the text does not tell."""
    match = _FORWARD.search(code)
    parameters, nested = match[1] if match else "", 1
    while nested:  # types have commas too
        parameters, nested = re.subn(r"\[[^\[\]]*\]", "", parameters)
    return tuple(re.findall(r"(?:^|,)\s*\**(\w+)", parameters))


def required_hyperparameters(code: str) -> tuple[str, ...]:
    """Return the hyperparameters that the code reads without a default, sorted."""
    return tuple(sorted(set(_REQUIRED.findall(code))))


def why_unusable(code: str) -> str | None:
    """Return why `code` defines no network, or None when it defines one.

    The symbol table is enough to tell, and takes half the time of building a syntax tree.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            symbols = symtable.symtable(code, "model", "exec")
    except UNPARSABLE as error:
        return f"does not parse: {error}"
    try:
        net = symbols.lookup("Net")
    except KeyError:
        return "no class Net"
    return None if net.is_assigned() or net.is_imported() else "no class Net"


def supported_hyperparameters(code: str) -> tuple[str, ...]:
    """Return the names that the model's own `supported_hyperparameters()` returns, sorted.

    A function that is absent or computes its answer gives the usual three.
    """
    match = _FUNCTION.search(code)
    if match is None:
        return USUAL_HYPERPARAMETERS
    try:
        # The function alone: parsing whole files would take most of the time of a listing.
        function = ast.parse(match.group()).body[0]
    except UNPARSABLE:
        return USUAL_HYPERPARAMETERS
    names = _literal_names(function)
    return USUAL_HYPERPARAMETERS if names is None else names


def _literal_names(function: ast.stmt) -> tuple[str, ...] | None:
    returns = [node for node in ast.walk(function) if isinstance(node, ast.Return)]
    if len(returns) != 1 or returns[0].value is None:
        return None
    value = returns[0].value
    if isinstance(value, ast.Call) and len(value.args) == 1:  # set([...])
        value = value.args[0]
    try:
        return tuple(sorted(str(name) for name in ast.literal_eval(value)))
    except (ValueError, TypeError):
        return None
