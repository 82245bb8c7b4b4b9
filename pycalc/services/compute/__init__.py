"""Where results are computed: on the event loop or in worker processes."""
