# %% [markdown]
# # Title

# %%
x = 1
