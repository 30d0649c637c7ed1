"""The runner in Python: measures one TFLite model on the machine it runs on and prints one JSON document.

This package travels to boards as one archive (`android_bench.runners.python_runner`): it needs Python 3.8, NumPy and
one runtime, and nothing else of ours. One process measures one model with one runtime, because two TFLite runtimes
in one process crash.
"""
