x = 1
# C:\temp\