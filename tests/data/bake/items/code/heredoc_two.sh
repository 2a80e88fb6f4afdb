cat <<A <<B
a
A
b
B
echo done
