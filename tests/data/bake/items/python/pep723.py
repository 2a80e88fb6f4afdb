# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "httpx",
# ]
# ///
import sys
print(sys.argv)
