1;
__END__

=head1 NAME

x

=cut
