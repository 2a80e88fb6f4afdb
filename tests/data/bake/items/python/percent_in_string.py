CELL = '''
# %%
not a cell
'''
x = 5
