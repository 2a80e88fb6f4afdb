# >>> conda initialize >>>
# <<< conda initialize <<<
x = 1
