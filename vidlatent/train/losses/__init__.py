"""Terms of the losses that autoencoders are trained by; each opens with its equation."""
