const t = `
<div>${a ? `<b>${b}</b>` : ''}</div>
// no comment
`;
const r = /[`'"]/;
