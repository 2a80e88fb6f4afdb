import functools


@functools.lru_cache(maxsize=None)
def f(a, /, b, *, c=1) -> 'int':
    async def g():
        async with x as y:
            yield y
    return lambda q=(z := 1): q
