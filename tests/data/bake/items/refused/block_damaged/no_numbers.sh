echo

# >>> rye-telemetry >>>
# <<< rye-telemetry <<<
