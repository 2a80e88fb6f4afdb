cat <<'END'
hello