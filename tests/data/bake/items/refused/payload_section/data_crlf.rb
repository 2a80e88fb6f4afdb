puts DATA.read
__END__
x
