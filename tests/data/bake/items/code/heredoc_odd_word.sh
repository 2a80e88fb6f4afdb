cat <<!
hello
!
cat <<E"O"F
b
EOF
