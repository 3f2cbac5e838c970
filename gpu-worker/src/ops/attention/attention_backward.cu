// Gradients of attention.
