"""A package.

More.
"""