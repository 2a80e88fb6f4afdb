library(stats)
fit <- lm(y ~ x, data = d) # fit
print(summary(fit))
