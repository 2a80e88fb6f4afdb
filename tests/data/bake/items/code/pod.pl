=head1 NAME

x - y

=cut

print $x =~ m#a#;
