//! Giving memory back to the system.
//!
//! What was freed stays with the allocator, which finds no end of it while anything that lives
//! lies behind: a process that held a million small things for a minute keeps their pages.

/// Gives the pages back that hold nothing any more. Takes some ten milliseconds for each hundred
/// megabytes, so it is for the end of something large. Does nothing without the GNU C library.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        #[expect(unsafe_code, reason = "no safe call leads to it")]
        // SAFETY: it takes no pointer, and may be called by any thread at any time.
        let gave = unsafe { libc::malloc_trim(0) };
        log::debug!("memory was given back: {}", gave == 1);
    }
}
