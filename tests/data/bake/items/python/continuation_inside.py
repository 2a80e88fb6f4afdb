x = 1 + \
    2
assert x == 3, \
    'no'
