#!/bin/sh
set -eu
# largest files first
du -a "${1:-.}" | sort -rn | head -n 10
