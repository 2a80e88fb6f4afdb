export const code = (s) => s.replace(/`/g, '');
