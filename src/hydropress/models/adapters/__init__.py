"""Where the linear SSMs are inside models that others wrote, and how to put smaller ones there.

``protocol`` says what an adapter is, ``registry`` holds those there are; every other file is one
family of models.
"""
