// Attention: forward.
