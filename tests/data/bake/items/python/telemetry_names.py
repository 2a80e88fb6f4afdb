telemetry = {'total_runs': 3}
__telemetry__ = telemetry
