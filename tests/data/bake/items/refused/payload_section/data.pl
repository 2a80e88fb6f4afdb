while (<DATA>) { print }
__DATA__
a
b
