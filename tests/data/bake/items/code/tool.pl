#!/usr/bin/perl
use strict;
use warnings;
print "hi\n";
1;
