cat <<EOF
hello
EOF 
