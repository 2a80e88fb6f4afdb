def f(x):
    match x:
        case {'a': [1, *rest]}:
            return rest
        case _:
            pass
