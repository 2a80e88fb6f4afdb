f()
// <<< rye-telemetry <<<
// >>> rye-telemetry >>>
