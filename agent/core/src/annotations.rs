//! A pod's annotations, parsed once.
