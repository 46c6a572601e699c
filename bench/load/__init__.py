"""Sessions in, exchanges out: when to send, how to send, what was answered.

This room knows no files, objectives or pages.  It takes a `Workload` and a sink.
"""
