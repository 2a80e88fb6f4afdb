echo 'cat <<EOF'
echo "a << b"
# cat <<EOF
