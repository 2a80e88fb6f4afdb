'use client'

import { useState } from 'react'

export default function C() {
  const [n, set] = useState(0)
  return <button onClick={() => set(n + 1)}>{/* n */}{`// ${n}`}</button>
}
