BEGIN = '# >>> rye-telemetry >>>'
END = '''
# <<< rye-telemetry <<<
'''
