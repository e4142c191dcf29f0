//! kavka-tests
