//! The signals that may be sent.
