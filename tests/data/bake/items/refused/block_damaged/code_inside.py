x = 1


# >>> rye-telemetry >>>
# telemetry:
#   total_runs: 3
y = 2
# <<< rye-telemetry <<<
