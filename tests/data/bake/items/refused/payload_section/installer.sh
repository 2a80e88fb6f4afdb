#!/bin/sh
sed '1,/^__ARCHIVE__$/d' "$0" | base64 -d | tar xz
exit 0
__ARCHIVE__
H4sIAAAAAAAAA+3
