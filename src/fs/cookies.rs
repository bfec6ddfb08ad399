//! Where a listing goes on: the offsets of telldir and what they stand for.
//!
//! A handle numbers the names that it hands out, never giving a number twice (until the folder is
//! read from its start again, which POSIX lets end all earlier positions). The names of the last
//! [`RECENT_MAX`] numbers are remembered exactly. Of older ones every so-manieth is remembered, at
//! most [`CHECKPOINTS_MAX`] of them; a position between two of those is found by counting names
//! from the one before it. Memory is thus bounded whatever the size of the folder.

use std::collections::VecDeque;

/// Names remembered exactly.
const RECENT_MAX: usize = 8192;
/// Older names remembered at all.
const CHECKPOINTS_MAX: usize = 1024;
/// The numbers of `.` and `..`.
pub(super) const SELF_COOKIE: u64 = 1;
pub(super) const PARENT_COOKIE: u64 = 2;

/// Where to go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// After this name; from the first name when None.
    pub(super) after: Option<Box<[u8]>>,
    /// And after so many more.
    pub(super) skip: u64,
}

/// The numbers that one handle has given.
pub(super) struct Cookies {
    /// Numbers rising by one each, the last one being the last that was given.
    recent: VecDeque<Box<[u8]>>,
    /// The number of the first recent name.
    first_recent: u64,
    checkpoints: Vec<(u64, Box<[u8]>)>,
    stride: u64,
}

impl Cookies {
    pub(super) fn new() -> Self {
        Self {
            recent: VecDeque::new(),
            first_recent: PARENT_COOKIE + 1,
            checkpoints: Vec::new(),
            stride: RECENT_MAX as u64 / 4,
        }
    }

    /// The number that the next name gets.
    pub(super) fn next(&self) -> u64 {
        self.first_recent + self.recent.len() as u64
    }

    /// Gives the next number to a name.
    pub(super) fn push(&mut self, name: &[u8]) {
        self.recent.push_back(name.into());
        if self.recent.len() > RECENT_MAX
            && let Some(oldest) = self.recent.pop_front()
        {
            if self.first_recent.is_multiple_of(self.stride) {
                self.checkpoints.push((self.first_recent, oldest));
                self.thin_out();
            }
            self.first_recent += 1;
        }
    }

    fn thin_out(&mut self) {
        if self.checkpoints.len() <= CHECKPOINTS_MAX {
            return;
        }
        self.stride *= 2;
        let stride = self.stride;
        self.checkpoints.retain(|(cookie, _)| cookie.is_multiple_of(stride));
    }

    /// Where the listing goes on after a number that was given; None for one that never was.
    pub(super) fn position(&self, cookie: u64) -> Option<Position> {
        if cookie >= self.next() {
            return None;
        }
        if cookie <= PARENT_COOKIE {
            return Some(Position { after: None, skip: 0 });
        }
        if let Some(index) = cookie.checked_sub(self.first_recent) {
            let after = self.recent.get(usize::try_from(index).ok()?)?;
            return Some(Position { after: Some(after.clone()), skip: 0 });
        }
        let older = self.checkpoints.partition_point(|(given, _)| *given <= cookie);
        let before = older.checked_sub(1).and_then(|at| self.checkpoints.get(at));
        Some(match before {
            Some((given, name)) => Position { after: Some(name.clone()), skip: cookie - given },
            None => Position { after: None, skip: cookie - PARENT_COOKIE },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u64) -> Vec<u8> {
        format!("{number:09}").into_bytes()
    }

    #[test]
    fn recent_positions_are_exact_and_old_ones_are_counted() {
        let mut cookies = Cookies::new();
        let total = 100_000;
        for number in 0..total {
            assert_eq!(cookies.next(), number + 3);
            cookies.push(&name(number));
        }
        let position = cookies.position(total + 2).expect("given");
        assert_eq!(position, Position { after: Some(name(total - 1).into()), skip: 0 });
        for number in [0, 1, 5_000, 50_000, 99_000] {
            let position = cookies.position(number + 3).expect("given");
            let base = match position.after {
                Some(after) => {
                    String::from_utf8_lossy(&after).parse::<u64>().expect("a number") + 1
                }
                None => 0,
            };
            assert_eq!(base + position.skip, number + 1, "after name {number}");
        }
        assert_eq!(cookies.position(total + 3), None);
        assert_eq!(cookies.position(SELF_COOKIE), Some(Position { after: None, skip: 0 }));
    }

    #[test]
    fn memory_is_bounded() {
        let mut cookies = Cookies::new();
        for number in 0..10_000_000 {
            cookies.push(b"n");
            if number % 1_000_000 == 0 {
                assert!(cookies.recent.len() <= RECENT_MAX);
                assert!(cookies.checkpoints.len() <= CHECKPOINTS_MAX);
            }
        }
    }
}
