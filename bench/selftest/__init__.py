"""How exact this machine is as a client: the engine held against a server that knows the truth."""
