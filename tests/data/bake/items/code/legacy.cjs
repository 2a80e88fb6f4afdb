'use strict';
module.exports = { a: 1 };