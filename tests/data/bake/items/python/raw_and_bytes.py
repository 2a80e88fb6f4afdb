import re
P = re.compile(r'\d+\\')
B = b'\x00\xff'
Q = 'it\'s'
