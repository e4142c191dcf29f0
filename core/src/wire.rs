//! Encode and decode, and nothing else: usable without the client.
