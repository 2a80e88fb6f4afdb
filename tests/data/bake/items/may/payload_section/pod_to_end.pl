print 1;

=head1 NAME

never cut
