/// <reference types="node" />
export type A<T> = T extends `${infer U}-x` ? U : never;
export const f = <T,>(x: T): T => x;
