"""All cases of the operator suite, over the operators that vision, audio, text and detection models use."""

from atlas.case import Case
from atlas.cases import elementwise, images, products, shapes, special

#: By name, in the order of the table.
CASES: dict[str, Case] = {
    each.name: each for module in (images, elementwise, products, shapes, special) for each in module.cases()
}
