class A:
    x = 1
    # todo