#!/bin/bash
read -r a <<< "$(date)"
grep x <<<'x y'
