echo $'it\'s'
echo 'more'
