"""Nodes that talk: values and envelopes on the wire, the backends that carry them, and clients."""
