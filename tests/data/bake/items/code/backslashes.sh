echo 'a\\'
printf 'x\\'
echo a\\
