//! Checks that came whole in one read, on their way to be judged together: their look-ups wait for memory at once.

use super::service::GROUP_ROWS;
use super::stream::Stream;
use crate::wire::CheckRequest;

/// One of them.
pub struct Check<'d> {
    pub stream: u32,
    /// It is a call of its own; else the call is a stream, and stays among those that are open.
    pub unary: bool,
    pub message: &'d [u8],
    pub request: CheckRequest<'d>,
}

/// Checks in the order in which they came.
#[derive(Default)]
pub struct Together<'d> {
    pub checks: Vec<Check<'d>>,
    /// The unary calls among them.
    pub calls: Vec<Stream>,
}

impl Together<'_> {
    /// Whether they are to be judged before another is added.
    pub fn is_full(&self) -> bool {
        self.checks.len() >= GROUP_ROWS
    }

    /// The same memory for the checks of another read.
    pub fn renewed<'d>(mut self) -> Together<'d> {
        self.calls.clear();
        self.checks.clear();
        let checks = self.checks.into_iter().map(|_| -> Check<'d> { unreachable!("it is empty") });
        Together { checks: checks.collect(), calls: self.calls }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_and_nothing_else() {
        let text = vec![b'7'; 9];
        let mut together = Together::default();
        for stream in 0..GROUP_ROWS as u32 {
            assert!(!together.is_full());
            let request = CheckRequest { imei: &text, ..CheckRequest::default() };
            together.checks.push(Check { stream, unary: false, message: &text, request });
        }
        assert!(together.is_full());
        let before = together.checks.as_ptr() as usize;
        let renewed: Together<'static> = together.renewed();
        drop(text);
        assert!(renewed.checks.is_empty() && renewed.calls.is_empty());
        assert_eq!((renewed.checks.as_ptr() as usize, renewed.checks.capacity()), (before, GROUP_ROWS));
    }
}
