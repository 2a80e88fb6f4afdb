puts <<T
__END__
T
