x = 1
print(f'{x!r:>{10}} {{literal}} {x:%Y}')
print(f'''
{x}
# >>> rye-telemetry >>>
''')
