#!/usr/bin/env bash
set -o pipefail
exec python3 -m tool "$@"
