"""Print by how many kB the peak of this process's memory sinks when the measuring process resets it."""

from nnlite_benchmark.host.runner import _reset_peak_rss, _status_kb

bytearray(200 << 20)
before_kb = _status_kb("VmHWM")
_reset_peak_rss()
print(before_kb - _status_kb("VmHWM"))
