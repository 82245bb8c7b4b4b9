"""Parts that all routes share: the middleware, inputs, the forms of responses, and header fields."""
