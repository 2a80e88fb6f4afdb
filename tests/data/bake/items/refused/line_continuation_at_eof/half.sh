docker run \
  --rm \