//! Which volumes trigger and which container is meant.
