"""The demo object: a procedurally modelled, painted and lit gourd, written as a USD stage."""
