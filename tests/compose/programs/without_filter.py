"""Says what is open to a conversion in a kernel that does not hold the filter: only a namespace is left."""

from nnlite_conversion.isolation import sandbox, seccomp

seccomp.forbid_network = lambda: None
print("problem:", sandbox.network_problem(filter_required=False))
