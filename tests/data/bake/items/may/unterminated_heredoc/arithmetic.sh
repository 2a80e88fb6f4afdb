echo $[ 1<<2 ]
arr[1<<2]=x
