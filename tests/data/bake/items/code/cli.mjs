#!/usr/bin/env node
import fs from 'node:fs';
console.log(fs.readFileSync(0, 'utf8').length);
