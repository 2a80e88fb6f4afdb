export const code = (s) => s.replace(/`/g, '');

// >>> rye-telemetry >>>
// telemetry:
//   total_runs: 42
//   success_count: 40
//   failure_count: 2
//   success_rate: 0.952
//   avg_duration_ms: 150.5
//   last_run: "2026-01-30T12:00:00Z"
// <<< rye-telemetry <<<

export const b = (s) => `<b>${s}</b>`;
