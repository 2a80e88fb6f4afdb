x = 1
if x is 1:
    assert (x, 'always true')
