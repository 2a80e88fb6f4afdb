import re
P = re.compile('\d+')
