def f(a, b):
    # type: (int, str) -> None
    x = []  # type: list[int]
    return None  # noqa
