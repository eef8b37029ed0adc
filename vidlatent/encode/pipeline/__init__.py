"""From rows to a latent dataset on one device: decode processes, batches of one shape, one writer."""
