"use server";
export const P = () => <a href="https://x.y//z">// text</a>;
