#!/bin/sh
# The largest files in HEAD, as bytes and name. RYE_PARAM_COUNT: how many (3).
git ls-tree -r --long HEAD | sort -k 4 -n -r | head -n "${RYE_PARAM_COUNT:-3}" | awk '{print $4, $5}'
