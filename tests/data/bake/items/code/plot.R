#' Plot it
#' @export
plot_it <- function(x) {
  plot(x) # "#"
}
