cat <<EOF
hello
  EOF
