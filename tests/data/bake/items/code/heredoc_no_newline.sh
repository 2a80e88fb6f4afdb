cat <<EOF
hi
EOF