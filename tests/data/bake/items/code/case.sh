case $1 in
  a) echo a ;;
  *) echo "#" ;;
esac