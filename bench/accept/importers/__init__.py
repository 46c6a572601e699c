"""Readers of other tools' result files; each one pure function from bytes to a small record.

They raise ConfigError, naming the file, for anything that is not what they read.
"""
