#!/bin/sh
'''exec' python3 "$0" "$@"
' '''
import sys
print(sys.argv)
