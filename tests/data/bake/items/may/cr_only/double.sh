echo a
echo b
