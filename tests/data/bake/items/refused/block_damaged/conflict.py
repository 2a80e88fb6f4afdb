x = 1


# >>> rye-telemetry >>>
# telemetry:
#   total_runs: 3
# =======
#   total_runs: 4
# <<< rye-telemetry <<<
