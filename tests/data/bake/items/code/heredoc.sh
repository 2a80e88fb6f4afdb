cat <<EOF
hello $USER
EOF
cat <<-'END'
	indented
	END
