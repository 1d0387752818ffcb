"""External vector stores: one module each, all of one shape (`store.VectorStore`)."""
