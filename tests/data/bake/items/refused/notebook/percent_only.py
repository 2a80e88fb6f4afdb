import os
# %%
print(os.sep)
# %% second
print(2)
