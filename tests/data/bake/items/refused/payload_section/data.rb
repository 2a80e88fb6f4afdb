puts DATA.read
__END__
line one
