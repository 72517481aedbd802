//! Damaged input for the native engine, by a seed or from libFuzzer: none may make it panic or read where it must not.

pub mod connections;
pub mod messages;
pub mod random;
pub mod segments;
