try:
    pass
except* ValueError as group:
    print(group)
