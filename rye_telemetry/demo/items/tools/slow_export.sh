#!/bin/sh
# An export that takes longer than anybody waits: run it with --timeout.
exec sleep 30
