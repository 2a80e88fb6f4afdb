cat <<"END OF TEXT"
hello
END OF TEXT
