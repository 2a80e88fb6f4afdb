main() { echo x; }
main "$@"; exit $?
