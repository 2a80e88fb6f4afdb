echo À¯
