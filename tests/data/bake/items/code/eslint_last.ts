/* eslint-disable */
foo();
/* eslint-enable */
// @ts-expect-error
