const a = 1
const f = () => a
f()
