=begin
A comment.
=end
puts '__END__'
def x = 1 << 2
