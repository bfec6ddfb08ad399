//! A buffer of each thread, so that a write allocates nothing.

use std::cell::RefCell;

#[cfg(not(shuttle))]
thread_local! {
    /// What records and log records are put together in; as long as the longest copied so far.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
#[cfg(shuttle)]
shuttle::thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(Vec::new());
}

/// Lends the buffer of this thread, empty.
pub(super) fn with_buffer<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    BUFFER.with(|buffer| {
        let buffer = &mut *buffer.borrow_mut();
        buffer.clear();
        work(buffer)
    })
}
