# Reference estimates of R: glm (maximum likelihood) and brglm2 (Firth), for test_scoring_exactness.py.
# Rscript r_reference.R < r_reference.csv > r_reference_estimates.csv
# Input: study,kind,first,second,value -- kind "judged" (value: share of the win of the first), "anchor" (of `first`).
suppressMessages(library(brglm2)); options(warn = -1, digits = 15)
input <- read.csv(file("stdin"), stringsAsFactors = FALSE)
cat("study,estimator,position,anchored,item,theta,se\n")
fitted_by_r <- function(d, held, estimator, position) {
  n <- max(d$first, d$second) + 1; m <- nrow(d)
  X <- matrix(0, m, n); X[cbind(1:m, d$first + 1)] <- 1; X[cbind(1:m, d$second + 1)] <- -1
  theta <- rep(0, n); keep <- 2:n
  if (nrow(held)) { theta[held$first + 1] <- held$value; keep <- setdiff(1:n, held$first + 1) }
  offset <- as.vector(X %*% theta); Z <- X[, keep, drop = FALSE]; if (position) Z <- cbind(Z, 1)
  r <- if (estimator == "mle") glm(d$value ~ Z - 1, family = binomial, offset = offset, epsilon = 1e-15, maxit = 200)
       else glm(d$value ~ Z - 1, family = binomial, offset = offset, method = "brglmFit", type = "AS_mean", epsilon = 1e-12, maxit = 5000)
  q <- length(keep); C <- matrix(0, n, n); V <- vcov(r)
  theta[keep] <- coef(r)[1:q]; C[keep, keep] <- V[1:q, 1:q]
  if (!nrow(held)) { P <- diag(n) - 1 / n; theta <- theta - mean(theta); C <- P %*% C %*% P }
  list(item = c(seq_len(n) - 1, if (position) "b"), theta = c(theta, if (position) coef(r)[q + 1]),
       se = sqrt(c(diag(C), if (position) V[q + 1, q + 1])))
}
for (study in unique(input$study)) for (position in 0:1) for (anchored in 0:1) for (estimator in c("mle", "firth")) {
  rows <- input[input$study == study, ]; d <- rows[rows$kind == "judged", ]; held <- rows[rows$kind == "anchor", ]
  if (estimator == "mle" && study == "undefeated") next
  r <- fitted_by_r(d, if (anchored) held else held[0, ], estimator, position)
  for (i in seq_along(r$item)) cat(sprintf("%s,%s,%d,%d,%s,%.15g,%.15g\n", study, estimator, position, anchored, r$item[i], r$theta[i], r$se[i]))
}
