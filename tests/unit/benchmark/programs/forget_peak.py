"""Print by how many kB the peak of this process's memory sinks when the measuring process resets it."""

import resource

from nnlite_benchmark.host.memory import MemoryUse

bytearray(200 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - MemoryUse("/no.tflite").peak_rss_kb)
