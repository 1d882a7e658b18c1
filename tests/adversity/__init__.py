"""docs/faults.md for real: processes, signals, frozen members, proxies. Judged by `tests/checker.py`."""
