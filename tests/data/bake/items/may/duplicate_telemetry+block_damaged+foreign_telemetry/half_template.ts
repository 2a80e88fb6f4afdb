const begin = `
// >>> rye-telemetry >>>
`;
