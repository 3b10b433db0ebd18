"""Inner loops over one scalar system at a time, compiled: closed forms on a processor.

The systems of a bank are small: as tensor operations, a step of the descent on one of them costs
ten times what its arithmetic takes (measured).  The tensor code beside it does the same for other
metrics and on other devices, and is what the tests hold this against.
"""
